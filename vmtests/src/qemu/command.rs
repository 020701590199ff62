//! How QEMU is called: the machine's hardware, and what it starts with.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::{Accel, Disk, Extras};
use crate::channel::PORT;

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";
/// How much memory a machine has, in bytes.
pub(super) const MEMORY: u64 = 1 << 30;
/// The kernel's command line; what would change how it treats packets is left out. Programs are loaded at the same place
/// each time (`norandmaps`): an emulator translates their code once then, and not for every process, which made up two
/// thirds of all its work.
pub(super) const APPEND: &str = "console=ttyS0 panic=-1 cryptomgr.notests loglevel=5 norandmaps";

/// What a machine has: q35, as it is where nothing needs more; and a NIC, where it is on a wire.
pub(super) fn hardware(accel: Accel, Extras { nic, .. }: Extras) -> Vec<String> {
    let machine = format!("q35,accel={}", accel.as_str());
    let port = format!("virtserialport,chardev=port,name={PORT}");
    let memory = (MEMORY >> 20).to_string();
    [
        &["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", &machine][..],
        &["-cpu", accel.cpu(), "-smp", "1", "-m", &memory],
        &["-chardev", "file,id=console,path=/proc/self/fd/1", "-serial", "chardev:console"],
        &["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"],
        &["-chardev", "socket,id=port,fd=0", "-device", &port],
        // No ROM: it boots from none.
        if nic { &["-device", "virtio-net-pci,netdev=wire,romfile="] } else { &[] },
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

/// A call of QEMU that takes shape.
pub(super) struct Call {
    command: Command,
    passed: Vec<OwnedFd>,
}

impl Call {
    /// A machine with a port and a console, and a NIC where there is a wire for it.
    pub(super) fn new(
        accel: Accel,
        port: OwnedFd,
        output: io::PipeWriter,
        wire: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let mut call = Self { command: Command::new(QEMU), passed: Vec::new() };
        call.command.args(hardware(accel, Extras { nic: wire.is_some(), ..Extras::default() }));
        if let Some(end) = wire {
            let netdev = format!("dgram,id=wire,local.type=fd,local.str={}", call.pass(end));
            call.command.args(["-netdev", &netdev]);
        }
        call.command.stdin(port).stdout(output.try_clone()?).stderr(output);
        Ok(call)
    }

    /// What it boots.
    pub(super) fn boot(&mut self, kernel: File, initramfs: File) {
        let (kernel, initramfs) = (path(self.pass(kernel)), path(self.pass(initramfs)));
        self.command.args(["-kernel", &kernel, "-initrd", &initramfs, "-append", APPEND]);
    }

    /// It has a disk. A comma in a name is written twice (man 1 qemu-system).
    pub(super) fn disk(&mut self, disk: &Disk) {
        let path = disk.path.display().to_string().replace(',', ",,");
        let readonly = if disk.writable { "off" } else { "on" };
        let drive = format!("if=none,id=disk,format=raw,readonly={readonly},file={path}");
        self.command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"]);
    }

    /// Its memory is in a file: a machine to be saved writes to it, others have what they write for themselves.
    pub(super) fn memory(&mut self, file: impl Into<OwnedFd>, share: bool) {
        let (path, share) = (path(self.pass(file)), if share { "on" } else { "off" });
        let backend = format!("memory-backend-file,id=ram,size={MEMORY},mem-path={path},share={share}");
        self.command.args(["-object", &backend, "-machine", "memory-backend=ram"]);
    }

    /// It has a monitor.
    pub(super) fn monitor(&mut self, socket: impl Into<OwnedFd>) {
        let number = self.pass(socket);
        let chardev = format!("socket,id=monitor,fd={number}");
        self.command.args(["-chardev", &chardev, "-mon", "chardev=monitor,mode=control"]);
    }

    /// It waits for the state of its devices, which it will read from here: by which number it knows that.
    pub(super) fn incoming(&mut self, state: impl Into<OwnedFd>) -> RawFd {
        self.command.args(["-incoming", "defer"]);
        self.pass(state)
    }

    /// QEMU gets a file under the number it has here.
    fn pass(&mut self, file: impl Into<OwnedFd>) -> RawFd {
        let file = file.into();
        let number = file.as_raw_fd();
        self.passed.push(file);
        number
    }

    /// The command. It ends with the thread that starts it.
    pub(super) fn command(self) -> Command {
        let Self { mut command, passed } = self;
        let prepare = move || {
            set_pdeathsig(Signal::SIGKILL)?;
            for file in &passed {
                // SAFETY: F_SETFD takes a number, and is safe between fork and exec (man 7 signal-safety).
                Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) })?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec nothing is called but prctl and fcntl, which are safe there.
        unsafe { command.pre_exec(prepare) };
        command
    }
}

fn path(number: RawFd) -> String {
    format!("/proc/self/fd/{number}")
}

/// A file that is nowhere.
pub(super) fn in_memory(name: &CStr, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}
