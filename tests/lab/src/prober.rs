//! A client that sends requests at a fixed rate and notes the answers. Outages are computed from the notes.
//!
//! Each request is a new TCP connection with its own time limit, and doesn't wait for earlier ones. An outage is a gap
//! between answers, which the prober's own waiting doesn't widen.

use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use crate::network::namespace;

/// What a prober requests, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The client's network namespace; none: this process's.
    pub namespace: Option<String>,
    /// The server.
    pub to: SocketAddrV4,
    /// The path, such as `/`.
    pub path: String,
    /// The time between requests.
    pub every: Duration,
    /// The time limit of each request.
    pub limit: Duration,
}

/// A request and its outcome.
#[derive(Debug, Clone)]
pub struct Probe {
    /// When it was sent, since the prober's start.
    pub sent: Duration,
    /// When it was answered or failed, since the prober's start.
    pub ended: Duration,
    /// The body of an answer with status 200; otherwise the error.
    pub outcome: Result<String, String>,
}

/// A gap between good answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The last good answer before it.
    pub from: Duration,
    /// The first good answer after it.
    pub to: Duration,
}

impl Outage {
    /// The time without a good answer.
    pub fn length(self) -> Duration {
        self.to - self.from
    }
}

/// A running prober.
#[derive(Debug)]
pub struct Prober {
    notes: Arc<Mutex<Vec<Probe>>>,
    good: watch::Receiver<usize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

impl Prober {
    /// Starts a prober on its own thread.
    pub fn start(plan: Plan) -> Result<Prober> {
        if plan.every.is_zero() {
            bail!("the time between a prober's requests must not be zero");
        }
        let notes = Arc::new(Mutex::new(Vec::new()));
        let (count, good) = watch::channel(0);
        let (stop, stopped) = oneshot::channel();
        let theirs = notes.clone();
        let work = move || ask_until(plan, &theirs, Arc::new(count), stopped);
        let thread = std::thread::Builder::new().name("prober".to_owned()).spawn(work)?;
        Ok(Prober { notes, good, stop: Some(stop), thread: Some(thread) })
    }

    /// Waits for this many more good answers.
    pub async fn answered(&self, more: usize, limit: Duration) -> Result<()> {
        let mut good = self.good.clone();
        let want = *good.borrow() + more;
        let waited = tokio::time::timeout(limit, good.wait_for(|count| *count >= want)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => bail!("the prober ended"),
            Err(_) => bail!("no {} more good answers within {limit:?}: {}", more, self.last()),
        }
    }

    /// The notes so far, in the order in which requests ended.
    pub fn notes(&self) -> Vec<Probe> {
        self.notes.lock().expect("no prober panics while it holds the notes").clone()
    }

    /// Stops the prober and returns all notes.
    pub fn finish(mut self) -> Result<Vec<Probe>> {
        self.end()?;
        Ok(self.notes())
    }

    fn last(&self) -> String {
        let notes = self.notes.lock().expect("no prober panics while it holds the notes");
        notes.last().map_or("no request has ended yet".to_owned(), |probe| format!("last outcome {:?}", probe.outcome))
    }

    fn end(&mut self) -> Result<()> {
        drop(self.stop.take());
        match self.thread.take().map(std::thread::JoinHandle::join) {
            Some(Err(_)) => bail!("the prober panicked"),
            Some(Ok(result)) => result,
            None => Ok(()),
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The longest gap; none with fewer than two good answers.
pub fn longest_outage(notes: &[Probe]) -> Option<Outage> {
    outages(notes, Duration::ZERO).into_iter().max_by_key(|outage| outage.length())
}

/// The gaps of at least `noticed`, in order.
pub fn outages(notes: &[Probe], noticed: Duration) -> Vec<Outage> {
    let mut good: Vec<Duration> = notes.iter().filter(|probe| probe.outcome.is_ok()).map(|probe| probe.ended).collect();
    good.sort_unstable();
    let holes = good.windows(2).map(|pair| Outage { from: pair[0], to: pair[1] });
    holes.filter(|hole| hole.length() >= noticed).collect()
}

/// The median; the upper one of the two middle values for an even count.
pub fn median(lengths: &[Duration]) -> Option<Duration> {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable();
    lengths.get(lengths.len() / 2).copied()
}

/// Sends one request over a new connection. Returns the body of an answer with status 200.
pub async fn ask(to: SocketAddrV4, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(to).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", to.ip());
    stream.write_all(request.as_bytes()).await.context("sending the request")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("reading the answer")?;
    body_of(&String::from_utf8_lossy(&answer))
}

fn body_of(answer: &str) -> Result<String> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("status {status}");
    }
    Ok(body.trim_end().to_owned())
}

fn ask_until(
    plan: Plan,
    notes: &Arc<Mutex<Vec<Probe>>>,
    good: Arc<watch::Sender<usize>>,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A socket belongs to the namespace of the thread that creates it.
    let asking = ask_forever(plan.clone(), notes.clone(), good, stopped);
    match &plan.namespace {
        Some(name) => namespace::enter(name, move || runtime.block_on(asking))?,
        None => runtime.block_on(asking),
    }
    Ok(())
}

async fn ask_forever(
    plan: Plan,
    notes: Arc<Mutex<Vec<Probe>>>,
    good: Arc<watch::Sender<usize>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(plan.every);
    let mut requests = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {
                requests.spawn(note(plan.clone(), start, notes.clone(), good.clone()));
            }
            Some(_) = requests.join_next() => {}
        }
    }
    while requests.join_next().await.is_some() {}
}

async fn note(plan: Plan, start: Instant, notes: Arc<Mutex<Vec<Probe>>>, good: Arc<watch::Sender<usize>>) {
    let sent = start.elapsed();
    let outcome = match tokio::time::timeout(plan.limit, ask(plan.to, &plan.path)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("no answer within {:?}", plan.limit)),
    };
    let was_good = outcome.is_ok();
    let probe = Probe { sent, ended: start.elapsed(), outcome };
    notes.lock().expect("no prober panics while it holds the notes").push(probe);
    if was_good {
        good.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(sent: u64, ended: u64, good: bool) -> Probe {
        let outcome = if good { Ok("a".to_owned()) } else { Err("no".to_owned()) };
        Probe { sent: Duration::from_millis(sent), ended: Duration::from_millis(ended), outcome }
    }

    #[test]
    fn an_outage_is_the_longest_time_without_a_good_answer() {
        let notes = [
            probe(0, 2, true),
            probe(10, 12, true),
            probe(20, 1020, false),
            probe(500, 503, true),
            probe(510, 512, true),
            probe(30, 1030, false),
        ];
        let outage = longest_outage(&notes).unwrap();
        assert_eq!(outage, Outage { from: Duration::from_millis(12), to: Duration::from_millis(503) });
        assert_eq!(outage.length(), Duration::from_millis(491));
    }

    #[test]
    fn one_answer_is_no_outage() {
        assert_eq!(longest_outage(&[probe(0, 1, true), probe(2, 3, false)]), None);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let seconds = |list: &[u64]| list.iter().map(|&s| Duration::from_secs(s)).collect::<Vec<_>>();
        assert_eq!(median(&seconds(&[9, 1, 5, 7, 3])), Some(Duration::from_secs(5)));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn only_a_200_is_a_good_answer() {
        assert_eq!(body_of("HTTP/1.1 200 OK\r\na: b\r\n\r\ntarget-a\n").unwrap(), "target-a");
        assert_eq!(body_of("HTTP/1.1 503 No\r\n\r\n").unwrap_err().to_string(), "status 503");
        assert!(body_of("").is_err());
    }

    #[tokio::test]
    async fn a_prober_sees_a_server_go_and_come_back() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(to) = listener.local_addr().unwrap() else { panic!("an IPv4 address") };
        let (every, limit) = (Duration::from_millis(5), Duration::from_millis(500));
        let prober = Prober::start(Plan { namespace: None, to, path: "/".into(), every, limit }).unwrap();
        let serving = tokio::spawn(serve(listener));
        prober.answered(3, Duration::from_secs(5)).await.unwrap();
        serving.abort();
        let _ = serving.await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        tokio::spawn(serve(tokio::net::TcpListener::bind(to).await.unwrap()));
        prober.answered(3, Duration::from_secs(5)).await.unwrap();
        let notes = prober.finish().unwrap();
        assert!(longest_outage(&notes).unwrap().length() >= Duration::from_millis(100));
        assert!(notes.iter().any(|probe| probe.outcome.is_err()));
    }

    async fn serve(listener: tokio::net::TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
        }
    }
}
