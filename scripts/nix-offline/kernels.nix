# The kernels of scripts/kernels.sh, each with its image's hash: scripts/nix.sh writes those that are here.
{ "5.10" = ""; "6.1" = ""; "6.12" = ""; "6.18" = ""; "7.2" = ""; "7.3" = ""; }
