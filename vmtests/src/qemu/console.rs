//! A machine's console: its end is kept, and what the kernel says there about its own mistakes.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// How many lines are kept.
const LINES: usize = 400;
/// How many of them are shown.
const SHOWN: usize = 12;
/// What the kernel says when something is wrong with itself (kernel/panic.c, arch/x86/kernel/dumpstack.c, mm/oom_kill.c,
/// kernel/hung_task.c, kernel/rcu/tree_stall.h, kernel/locking/lockdep.c).
const SPLATS: [&str; 14] = [
    "Kernel panic",
    "BUG:",
    "Oops:",
    "general protection fault",
    "INFO: task",
    "rcu: INFO:",
    "Out of memory",
    "WARNING: possible",
    "WARNING: inconsistent lock state",
    "WARNING: suspicious RCU usage",
    "WARNING: bad unlock balance",
    "WARNING: held lock freed",
    "WARNING: lock held",
    "unregister_netdevice: waiting for",
];

/// Whether a line is one in which the kernel complains of itself. What `WARN()` says is one, in the form it had to
/// 6.18, `WARNING: CPU: 0 PID: 7 at net/core/dev.c:9 f+0x1/0x2`, and in that of later ones, `WARNING: net/core/dev.c:9 at
/// f+0x1/0x2, CPU#0: ip/7`; advice that begins with the same word is none.
fn complains(line: &str) -> bool {
    let warned = line.split_once("WARNING: ").map(|(_, rest)| rest);
    SPLATS.iter().any(|splat| line.contains(splat))
        || warned.is_some_and(|rest| {
            rest.starts_with("CPU: ") || (rest.contains("at ") && rest.contains(", CPU#"))
        })
}

/// What was said on a console.
#[derive(Debug, Default)]
pub(super) struct Console {
    lines: VecDeque<String>,
    /// Lines from the kernel's first complaint on.
    splat: Vec<String>,
}

impl Console {
    /// Takes a line in.
    pub(super) fn hear(&mut self, line: String) {
        if (!self.splat.is_empty() || complains(&line)) && self.splat.len() < SHOWN {
            self.splat.push(line.clone());
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Whether the kernel has complained of itself.
    pub(super) const fn complained(&self) -> bool {
        !self.splat.is_empty()
    }

    /// The kernel's complaint, where there is one, and else the end.
    pub(super) fn tail(&self) -> String {
        let end = self.lines.iter().skip(self.lines.len().saturating_sub(SHOWN));
        let lines: Vec<&String> = if self.complained() { self.splat.iter().collect() } else { end.collect() };
        if lines.is_empty() {
            return "; its console says nothing".to_owned();
        }
        let said = if self.complained() { "; its console says:" } else { "; its console ends:" };
        let mut tail = said.to_owned();
        for line in lines {
            let _ = write!(tail, "\n  {line}");
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Console {
        let mut console = Console::default();
        text.lines().for_each(|line| console.hear(line.to_owned()));
        console
    }

    /// The forms of the first and the third are text in the images of Debian's 5.10 to 6.18, those of the second and the
    /// fourth in 7.2 and 7.3; what is none is in all of them.
    #[test]
    fn a_kernel_that_complains_of_itself_is_heard() {
        for splat in [
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "INFO: task veth:7 blocked for more than 122 seconds.",
            "WARNING: CPU: 0 PID: 7 at net/core/dev.c:9 dev_close+0x1/0x2",
            "WARNING: net/core/dev.c:9 at dev_close+0x1/0x2, CPU#0: ip/7",
            "WARNING: CPU: 0 PID: 7 at dev_close+0x1/0x2",
            "WARNING: at dev_close+0x1/0x2, CPU#0: ip/7",
            "WARNING: possible circular locking dependency detected",
            "unregister_netdevice: waiting for lo to become free. Usage count = 2",
        ] {
            assert!(heard(&format!("[    5.000000] {splat}")).complained(), "{splat}");
        }
        for quiet in [
            "RETBleed: WARNING: CPU does not support IBPB.",
            "Spectre V2 : WARNING: LFENCE mitigation is not recommended for this CPU, data leaks possible!",
            "random: crng init done",
        ] {
            assert!(!heard(&format!("[    5.000000] {quiet}")).complained(), "{quiet}");
        }
    }

    #[test]
    fn a_complaint_is_quoted_from_there_on_however_much_comes_after_it() {
        let lines: String = (0..500).map(|n| format!("line {n}\n")).collect();
        let loud = heard(&format!("before\n[ 5.0] BUG: spinlock bad magic\n{lines}"));
        assert!(loud.tail().starts_with("; its console says:\n  [ 5.0] BUG: spinlock bad magic\n  line 0\n"));
        assert!(!loud.tail().contains("before"));
        let quiet = heard(&lines);
        assert!(quiet.tail().starts_with("; its console ends:\n  line 488\n"), "{}", quiet.tail());
        assert_eq!(heard("").tail(), "; its console says nothing");
    }
}
