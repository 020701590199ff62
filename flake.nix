# README.md, "With Nix", says what of this was evaluated and built, and with which nixpkgs.
{
  description = "Says who can reach whom in a Docker network, by what path, and why not, and proves it";

  # seatrial needs Rust 1.95.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      inherit ((builtins.fromTOML (builtins.readFile ./Cargo.toml)).workspace.package) version description;
      fixtures = ./fixtures;

      # nixpkgs drops a kernel when upstream does: the newest has a name that stays.
      names = [ "5_10" "6_1" "6_12" "6_18" "7_2" "latest" ];

      # Virtual machines are x86_64's.
      each = f: lib.genAttrs [ "x86_64-linux" ] (system: f nixpkgs.legacyPackages.${system} system);

      # The kernels of nixpkgs by name, those that it has.
      kernelsOf = pkgs:
        let
          kernel = name: { inherit name; value = pkgs."linuxPackages_${name}".kernel; };
          there = name: pkgs ? "linuxPackages_${name}" && (builtins.tryEval (kernel name).value.version).success;
        in
        builtins.listToAttrs (map kernel (builtins.filter there names));

      line = kernel: {
        version = lib.versions.majorMinor kernel.version;
        image = "${kernel}/bzImage";
        modules = "${lib.getOutput "modules" kernel}/lib/modules/${kernel.modDirVersion}";
      };

      # What scripts/kernels.sh makes elsewhere: one version is listed once.
      manifest = pkgs: kernels:
        let
          lines = map line (builtins.attrValues kernels);
          once = builtins.listToAttrs (map (line: { name = line.version; value = line; }) lines);
        in
        pkgs.writeTextDir "manifest.json" (builtins.toJSON (builtins.attrValues once));

      # vmtests with all that it calls, and with these kernels.
      wrapped = pkgs: system: kernels:
        pkgs.runCommand "vmtests-${version}"
          {
            nativeBuildInputs = [ pkgs.makeWrapper ];
            meta = { description = "Runs trials of Docker networks on Linux kernels"; mainProgram = "vmtests"; };
          }
          ''
            makeWrapper ${self.packages.${system}.seatrial}/bin/vmtests $out/bin/vmtests \
              --prefix PATH : ${lib.makeBinPath [ pkgs.qemu_kvm pkgs.iptables pkgs.nftables ]} \
              --set-default SEATRIAL_KERNELS ${manifest pkgs kernels} \
              --set-default VMTESTS_TRIALS ${fixtures}/trials
          '';

      folders = path: builtins.filter (name: (builtins.readDir path).${name} == "directory")
        (builtins.attrNames (builtins.readDir path));

      # A derivation for each kernel and group of trials: many machines share the matrix, and only what changed is run.
      # None asks for the feature "kvm": a machine that has none runs it too.
      matrix = pkgs: system:
        let
          kernels = kernelsOf pkgs;
          check = name: group: {
            name = "linux_${name}-${group}";
            value = pkgs.runCommand "linux_${name}-${group}" { } ''
              ${wrapped pkgs system { ${name} = kernels.${name}; }}/bin/vmtests ${fixtures}/trials/${group} --jobs 1 | tee $out
            '';
          };
        in
        builtins.listToAttrs (builtins.concatMap
          (name: map (check name) (folders ./fixtures/trials))
          (builtins.attrNames kernels));
    in
    {
      packages = each (pkgs: system: {
        default = self.packages.${system}.seatrial;
        seatrial = pkgs.rustPlatform.buildRustPackage {
          pname = "seatrial";
          inherit version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          # scripts/test.sh runs them, with what they need of a machine; `checks` runs trials.
          doCheck = false;
          meta = {
            inherit description;
            license = [ lib.licenses.mit lib.licenses.asl20 ];
            mainProgram = "seatrial";
          };
        };
        vmtests = wrapped pkgs system (kernelsOf pkgs);
      });

      apps = each (pkgs: system: {
        default = { type = "app"; program = "${self.packages.${system}.seatrial}/bin/seatrial"; };
        vmtests = { type = "app"; program = "${self.packages.${system}.vmtests}/bin/vmtests"; };
      });

      checks = each (pkgs: system: { inherit (self.packages.${system}) seatrial; } // matrix pkgs system);

      devShells = each (pkgs: system: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${system}.seatrial ];
          packages = [
            pkgs.cargo-insta
            pkgs.clippy
            pkgs.iproute2
            pkgs.iptables
            pkgs.nftables
            pkgs.qemu_kvm
            pkgs.rust-analyzer
            pkgs.rustfmt
            pkgs.shellcheck
          ];
          SEATRIAL_KERNELS = manifest pkgs (kernelsOf pkgs);
        };
      });
    };
}
