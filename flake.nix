# No flake.lock stands beside this: it was written on a machine that cannot reach nixpkgs. The first `nix build`
# writes one; commit it.
{
  description = "Says who can reach whom in a Docker network, by what path, and why not, and proves it";

  # seatrial needs Rust 1.95.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      manifest = builtins.fromTOML (builtins.readFile ./Cargo.toml);
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "seatrial";
          inherit (manifest.workspace.package) version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          # The tests of every crate, as scripts/test.sh runs them.
          cargoTestFlags = [ "--workspace" ];
          env.INSTA_UPDATE = "no";
          meta = {
            inherit (manifest.workspace.package) description;
            license = with pkgs.lib.licenses; [ mit asl20 ];
            mainProgram = "seatrial";
          };
        };
      });

      apps = each (pkgs: {
        default = {
          type = "app";
          program = "${self.packages.${pkgs.system}.default}/bin/seatrial";
        };
      });

      checks = each (pkgs: { inherit (self.packages.${pkgs.system}) default; });

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.system}.default ];
          packages = with pkgs; [ clippy rustfmt rust-analyzer cargo-insta shellcheck ];
        };
      });
    };
}
