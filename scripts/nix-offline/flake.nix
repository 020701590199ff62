# Stands in for nixpkgs where that cannot be fetched: the attributes that ../../flake.nix uses, and no other, made of
# this machine's own tools, of its cargo, and of the kernels of scripts/kernels.sh. Nothing of it is reproducible, and
# no sandbox may be around it: scripts/nix.sh calls it as it must be called.
{
  outputs = { self }:
    let
      system = "x86_64-linux";

      # A command, with the machine's tools; ~ is the caller's, though nix hides it. The shell ends last: it would
      # become the last program otherwise, and nix kills a builder that has closed its output, as cp does before it ends.
      run = name: attributes: script: derivation ({
        inherit name system;
        builder = "/bin/bash";
        args = [ "-euo" "pipefail" "-c" "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin; source ${./builder.sh}; ${script}\nexit" ];
        preferLocalBuild = true;
      } // builtins.removeAttrs attributes [ "meta" ]) // { inherit (attributes) meta; };
      command = name: attributes: run name ({ meta = { }; } // attributes);

      # A package of the machine's own programs.
      programs = name: list: command name { } ''
        mkdir -p $out/bin
        for program in ${toString list}; do ln -s "$(command -v "$program")" $out/bin/; done
      '';

      # Debian's kernels, in the places where nixpkgs has one's parts; one with another image is another derivation.
      kernel = version: sha256: command "linux-${version}" { inherit sha256; } ''
        kernel ${version}
      '' // { inherit version; modDirVersion = version; };
      packages = name: version:
        let here = import ./kernels.nix; in
        if here ? ${version} then { "linuxPackages_${name}".kernel = kernel version here.${version}; } else { };

      take = n: list: builtins.genList (builtins.elemAt list) n;
    in
    {
      lib = {
        genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
        getOutput = output: package: package.${output} or package;
        licenses = { mit = "MIT"; asl20 = "Apache-2.0"; };
        makeBinPath = packages: builtins.concatStringsSep ":" (map (package: "${package}/bin") packages);
        versions.majorMinor = version: builtins.concatStringsSep "." (take 2 (builtins.splitVersion version));
      };

      legacyPackages.${system} = {
        cargo-insta = programs "cargo-insta" [ ];
        clippy = programs "clippy" [ ];
        iproute2 = programs "iproute2" [ "ip" ];
        iptables = programs "iptables" [ "iptables-restore" "ip6tables-restore" "iptables-save" "ip6tables-save" ];
        makeWrapper = command "make-wrapper" { } "mkdir -p $out/bin; install -m 755 ${./make-wrapper.sh} $out/bin/makeWrapper";
        mkShell = attributes: command "shell" { } "echo 'a shell of this machine' >$out";
        nftables = programs "nftables" [ "nft" ];
        qemu_kvm = programs "qemu" [ "qemu-system-x86_64" ];
        runCommand = command;
        rust-analyzer = programs "rust-analyzer" [ ];
        rustPlatform.buildRustPackage = { pname, version, src, meta, ... }:
          command "${pname}-${version}" { inherit meta; } "cargo_build ${src}";
        rustfmt = programs "rustfmt" [ ];
        shellcheck = programs "shellcheck" [ ];
        writeTextDir = name: text: command name { inherit text; passAsFile = [ "text" ]; } ''
          mkdir -p $out; cp "$textPath" $out/${name}
        '';
      }
      // packages "5_10" "5.10"
      // packages "6_1" "6.1"
      // packages "6_12" "6.12"
      // packages "6_18" "6.18"
      // packages "7_2" "7.2"
      // packages "latest" "7.3";
    };
}
