//! Rules are written while other objects are made: the tools mostly wait for the kernel, 20 to 70 ms at a time.

use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, spawn_local, yield_now};

use super::Ground;
use crate::linux::Error;
use crate::linux::rules::{self, Before};
use crate::plan::NsName;
use crate::probe::NsKind;
use crate::rules::Ruleset;
use crate::rules::nft::Script;

/// How many tools run at one time: each is a process of a few MB.
static TURNS: Semaphore = Semaphore::const_new(8);

/// Rules of one namespace, on their way to the kernel.
pub(super) type Writing = JoinHandle<Result<(), Error>>;

impl Ground {
    /// Begins to write rules, after those of the same namespace that are being written.
    pub(super) async fn begin_rules(
        &mut self,
        ns: &NsName,
        ruleset: &Ruleset,
        before: Before,
    ) -> Result<(), Error> {
        let space = Rc::clone(self.space(NsKind::Network, ns)?);
        let (name, ruleset) = (ns.clone(), ruleset.clone());
        let write = async move { rules::restore(&space, name.as_str(), &ruleset, before).await };
        self.begin(ns, write).await;
        Ok(())
    }

    /// Begins to give nft a text; of one that goes on from what nft has been given, what is new.
    pub(super) async fn begin_script(&mut self, ns: &NsName, script: &Script) -> Result<(), Error> {
        let before = self.scripts.insert(ns.clone(), script.text.clone());
        let text = match before {
            None => script.text.clone(),
            Some(before) => match script.text.strip_prefix(&before) {
                Some(new) => new.to_owned(),
                None => script.room() + &script.text,
            },
        };
        self.begin_text(ns, text).await
    }

    pub(super) async fn begin_text(&mut self, ns: &NsName, text: String) -> Result<(), Error> {
        let space = Rc::clone(self.space(NsKind::Network, ns)?);
        let name = ns.clone();
        let write = async move { rules::run(&space, name.as_str(), "nft", &["-f", "-"], &text).await };
        self.begin(ns, write).await;
        Ok(())
    }

    async fn begin(&mut self, ns: &NsName, write: impl Future<Output = Result<(), Error>> + 'static) {
        let first = self.writing.remove(ns);
        let write = async move {
            if let Some(first) = first {
                end(first.await)?;
            }
            // Nobody closes it.
            let _turn = TURNS.acquire().await;
            write.await
        };
        self.writing.insert(ns.clone(), spawn_local(write));
        // Whatever is made next waits for nothing: the tool is to be started before.
        yield_now().await;
    }

    /// Waits until all rules are written.
    ///
    /// # Errors
    /// The first that could not be; the others are written all the same.
    pub(super) async fn end_rules(&mut self) -> Result<(), Error> {
        let mut done = Ok(());
        for writing in std::mem::take(&mut self.writing).into_values() {
            done = done.and(end(writing.await));
        }
        done
    }
}

fn end(written: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    written.unwrap_or_else(|e| Err(Error::words("write", "rules", e.to_string())))
}
