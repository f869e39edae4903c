//! Servers for the tests, and what lies before them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A process of `tests/sql/connect.py`, which ends what it has started when this one ends.
pub(in crate::engine) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    pub(in crate::engine) port: u16,
    /// What else it says: its process and the port of its pages, or a folder.
    pub(super) rest: Vec<String>,
}

impl Server {
    pub(in crate::engine) fn start(args: &[&str]) -> Server {
        let python =
            std::env::var("SQL_PYTHON").expect("SQL_PYTHON names a Python with the engines");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql/connect.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let input = child.stdin.take();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("answers");
        let mut words = line.split_whitespace().map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some("ready"), "{line}");
        let port = words.next().expect("a port").parse().expect("a port");
        Server { child, input, port, rest: words.collect() }
    }

    /// The one cluster of all tests, of two executors that are processes of their own; each test
    /// has it for itself.
    pub(in crate::engine) fn cluster() -> MutexGuard<'static, Server> {
        static CLUSTER: OnceLock<Mutex<Server>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| {
            let token = format!("spark.connect.authenticate.token={}", token());
            Mutex::new(Server::start(&["spark", "local-cluster[2,1,1024]", &token]))
        });
        cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pid(&self) -> &str {
        &self.rest[0]
    }

    /// Processes that the server has started to do its work.
    pub(super) fn executors(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("there").flatten() {
            let read = |name: &str| std::fs::read_to_string(entry.path().join(name));
            let (Ok(command), Ok(stat)) = (read("cmdline"), read("stat")) else { continue };
            let group = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2));
            if command.contains("CoarseGrainedExecutorBackend") && group == Some(self.pid()) {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        found
    }

    /// How many tasks of running jobs are done; `None` if no job runs.
    pub(super) fn tasks_done(&self) -> Option<u64> {
        let applications = self.page("");
        let id = applications[0]["id"].as_str().expect("an application").to_owned();
        let jobs = self.page(&format!("/{id}/jobs?status=running"));
        let jobs = jobs.as_array().expect("a list");
        let done = jobs.iter().map(|job| job["numCompletedTasks"].as_u64().unwrap_or(0));
        (!jobs.is_empty()).then(|| done.sum())
    }

    fn page(&self, path: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{}", self.rest[1])).expect("pages");
        let request = format!("GET /api/v1/applications{path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("asks");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answers");
        let body = text.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

pub(super) fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().expect("runs").success());
}

/// The token of all servers of the tests: an environment variable, as that is where runs find it.
pub(super) fn token() -> String {
    std::env::var(crate::job::SparkServer::TOKEN).expect("DISCRETAIL_SPARK_TOKEN is set")
}

/// Waits, but not for ever.
pub(super) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a connection in between can do to the server's bytes.
#[derive(Default)]
struct Harm {
    /// Cuts one connection, after so many bytes from the server.
    once: Budget,
    /// Cuts each connection that is made from now on, and the one that there is.
    each: Budget,
    /// Cuts one connection at the next byte to the server, which never sees it.
    deaf: AtomicBool,
    /// Passes nothing on, and keeps connections.
    still: AtomicBool,
}

/// Bytes that may pass; below zero: all.
struct Budget(AtomicI64);

impl Default for Budget {
    fn default() -> Budget {
        Budget(AtomicI64::new(-1))
    }
}

/// A connection between the client and a server.
pub(super) struct Proxy {
    pub(super) port: u16,
    harm: Arc<Harm>,
}

impl Proxy {
    pub(super) fn before(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let port = listener.local_addr().expect("listens").port();
        let harm = Arc::new(Harm::default());
        let shared = Arc::clone(&harm);
        // Ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                pass(&client, &server, Arc::clone(&shared), false);
                pass(&server, &client, Arc::clone(&shared), true);
            }
        });
        Proxy { port, harm }
    }

    pub(super) fn cut_once(&self, after: i64) {
        self.harm.once.0.store(after, Ordering::SeqCst);
    }

    /// Below zero: no more.
    pub(super) fn cut_each(&self, after: i64) {
        self.harm.each.0.store(after, Ordering::SeqCst);
    }

    pub(super) fn be_deaf_once(&self) {
        self.harm.deaf.store(true, Ordering::SeqCst);
    }

    pub(super) fn be_still(&self, still: bool) {
        self.harm.still.store(still, Ordering::SeqCst);
    }
}

/// Passes bytes on, in a thread of its own.
fn pass(from: &TcpStream, to: &TcpStream, harm: Arc<Harm>, is_answer: bool) {
    let (mut from, mut to) = (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 4096];
        let mut passed = 0i64;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            while harm.still.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if !is_answer {
                if harm.deaf.swap(false, Ordering::SeqCst)
                    || to.write_all(&buffer[..count]).is_err()
                {
                    break;
                }
                continue;
            }
            let count = i64::try_from(count).expect("small");
            let once = harm.once.0.load(Ordering::SeqCst);
            let each = harm.each.0.load(Ordering::SeqCst);
            let mut left = count;
            if once >= 0 {
                left = left.min(once);
                // Not below zero before the cut itself.
                harm.once.0.store(if once > count { once - count } else { -1 }, Ordering::SeqCst);
            }
            if each >= 0 {
                left = left.min(each.saturating_sub(passed).max(0));
                passed += count;
            }
            let cut = (once >= 0 && once <= count) || left < count;
            let bytes = usize::try_from(left).expect("not below zero");
            if to.write_all(&buffer[..bytes]).is_err() || cut {
                // So that what has passed is taken before the end is seen.
                if each >= 0 {
                    std::thread::sleep(Duration::from_millis(200));
                }
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
