//! The stage at work: requests come in, answers go out, as many at a time as are asked.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::ExitCode;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::runtime::Builder;
use tokio::sync::Mutex;
use tokio::task::{LocalSet, spawn_local};

use super::door::Door;
use super::enter::greet;
use super::ground::Ground;
use super::ground::fact::resolves;
use crate::linux::Error;
use crate::linux::order::Numbered;
use crate::linux::request::{Answer, Request};
use crate::probe::Fact;
use crate::topology::NodeName;

/// Serves the caller until it has ended, and a lab's callers until somebody ends it.
pub(super) fn run(control: StdStream, door: Option<OwnedFd>) -> ExitCode {
    let runtime = Builder::new_current_thread().enable_all().build();
    let done = runtime.and_then(|runtime| {
        greet(&control, &Ok(()))?;
        LocalSet::new().block_on(&runtime, serve(control, door))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn serve(control: StdStream, door: Option<OwnedFd>) -> io::Result<()> {
    control.set_nonblocking(true)?;
    let (requests, answers) = UnixStream::from_std(control)?.into_split();
    let answers = Rc::new(Mutex::new(answers));
    let ground = Rc::new(Mutex::new(Ground::default()));
    let door = Rc::new(Door::new(door));
    let mut requests = BufReader::new(requests).lines();
    while let Some(line) = requests.next_line().await? {
        let Numbered { id, what } = serde_json::from_str(&line)?;
        let (answers, ground, door) = (Rc::clone(&answers), Rc::clone(&ground), Rc::clone(&door));
        spawn_local(async move {
            let what = answer(&ground, &door, what).await;
            // A caller that is gone wants no answer; the loop above sees it too.
            let _ = tell(&answers, &Numbered { id, what }).await;
        });
    }
    door.until_the_end().await;
    Ok(())
}

async fn tell(answers: &Mutex<OwnedWriteHalf>, answer: &Numbered<Answer>) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    answers.lock().await.write_all(&line).await
}

/// Does what is asked. Changes come one after another, and no question is asked in the middle of one.
async fn answer(ground: &Rc<Mutex<Ground>>, door: &Door, request: Request) -> Answer {
    let done = match request {
        Request::Apply(operations) => ground.lock().await.apply(&operations).await.map(|()| Answer::Done),
        Request::Ask(probe) => {
            let asked = ground.lock().await.asking(&probe);
            match asked {
                Ok(asking) => asking.answer().await,
                Err(error) => Err(error),
            }
        }
        Request::Fact(node, fact) => see(ground, &node, &fact).await,
        Request::Fault(node, device, fault) => {
            ground.lock().await.fault(&node, &device, fault).map(|()| Answer::Done)
        }
        Request::Observe(settings) => {
            ground.lock().await.observed(settings).map(|observed| Answer::Observed(Box::new(observed)))
        }
        Request::Among(among) => {
            ground.lock().await.be_among(among);
            Ok(Answer::Done)
        }
        Request::Heard(nonce) => Ok(ground.lock().await.heard(nonce)),
        Request::WaitMs(ms) => {
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            Ok(Answer::Done)
        }
        Request::Run => ground.lock().await.run().await.map(|()| Answer::Done),
        Request::Daemon(daemon) => ground.lock().await.start_daemon(&daemon).map(|()| Answer::Done),
        Request::Admit(process) => ground.lock().await.admit(process).await.map(|()| Answer::Done),
        Request::Dismiss(node) => ground.lock().await.dismiss(&node).map(|()| Answer::Done),
        Request::Tool(node, words) => ground.lock().await.tool(&node, &words).map(|()| Answer::Done),
        Request::Detach => door.open(ground).map(|()| Answer::Done),
    };
    done.unwrap_or_else(Answer::Failed)
}

/// Whether a fact is so, or what is so instead.
async fn see(ground: &Mutex<Ground>, node: &NodeName, fact: &Fact) -> Result<Answer, Error> {
    let (seen, agent) = {
        let mut ground = ground.lock().await;
        (ground.observe(node, fact), ground.agent(node)?)
    };
    let so = match (seen, fact) {
        (Some(so), _) => so?,
        (None, Fact::Resolves(name, _)) => resolves(&agent, name).await?,
        (None, _) => return Err(Error::words("see", fact.to_string(), "nobody can say")),
    };
    Ok(if so.meets(fact) { Answer::Done } else { Answer::Otherwise(format!("{node} {so}")) })
}
