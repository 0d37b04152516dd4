//! Tests of the pool against servers that close connections, hang and count.

use std::sync::atomic::AtomicU32;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Starts a server that passes each connection, numbered from 0, to `serve`. Returns its URL and connection counter.
async fn server<F>(serve: impl Fn(u32, TcpStream) -> F + Send + 'static) -> (String, Arc<AtomicU32>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(counted.fetch_add(1, Ordering::SeqCst), stream));
        }
    });
    (url, count)
}

async fn request_read(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 2048];
    stream.read(&mut buffer).await.is_ok_and(|length| length > 0)
}

/// Answers every request.
async fn answers(_: u32, mut stream: TcpStream) {
    while request_read(&mut stream).await {
        stream.write_all(ANSWER).await.unwrap();
    }
}

fn request(url: &str) -> HttpRequest {
    HttpRequest::try_from(Request::post(url).body(SdkBody::from("Action=ReplaceRoute")).unwrap()).unwrap()
}

async fn ask(pool: &Pool, url: &str) -> Result<u16, ConnectorError> {
    let asked = tokio::time::timeout(Duration::from_secs(20), pool.ask(request(url)));
    asked.await.expect("an outcome").map(|answer| answer.status().as_u16())
}

/// Waits until exactly `count` idle connections are open.
async fn ready(pool: &Pool, count: usize) {
    let there = async {
        while pool.idle().iter().filter(|connection| connection.is_open()).count() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), there).await.expect("ready connections");
}

fn kept(pool: &Pool) -> tokio::task::JoinHandle<()> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.keep_ready().await })
}

#[tokio::test]
async fn calls_after_each_other_use_one_connection() {
    let (url, connections) = server(answers).await;
    let pool = Pool::new(Remembered::default());
    for _ in 0..5 {
        assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_pool_opens_as_many_connections_as_a_takeover_can_use() {
    let (url, connections) = server(answers).await;
    let pool = Pool::new(Remembered::default());
    ask(&pool, &url).await.unwrap();
    let keeping = kept(&pool);
    pool.prepare_for(5);
    ready(&pool, 5).await;
    let calls = (0..5).map(|_| ask(&pool, &url));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(connections.load(Ordering::SeqCst), 5);
    pool.prepare_for(200);
    ready(&pool, MOST).await;
    keeping.abort();
}

#[tokio::test]
async fn a_connection_that_the_other_side_closed_is_opened_again() {
    let (url, connections) = server(|number, mut stream| async move {
        request_read(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        if number > 0 {
            answers(number, stream).await;
        }
    })
    .await;
    let pool = Pool::new(Remembered::default());
    ask(&pool, &url).await.unwrap();
    let keeping = kept(&pool);
    ready(&pool, 1).await;
    let again = async {
        while connections.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("a second connection");
    keeping.abort();
}

#[tokio::test]
async fn a_call_on_a_dead_idle_connection_is_sent_again() {
    let (url, connections) = server(|number, mut stream| async move {
        request_read(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        if number == 0 {
            // Reads the second request, then closes.
            request_read(&mut stream).await;
        } else {
            answers(number, stream).await;
        }
    })
    .await;
    let pool = Pool::new(Remembered::default());
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    assert_eq!(ask(&pool, &url).await.unwrap(), 200);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_new_connection_that_fails_is_an_error_at_once() {
    let (url, connections) = server(|_, mut stream| async move {
        request_read(&mut stream).await;
    })
    .await;
    let pool = Pool::new(Remembered::default());
    assert!(ask(&pool, &url).await.is_err());
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_takes_a_returned_connection_before_a_new_one_opens() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = socket.listen(1).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answers(0, stream).await;
        drop(listener);
    });
    let (pool, url) = (Pool::new(Remembered::default()), format!("http://{address}/"));
    ask(&pool, &url).await.unwrap();
    let target = prepared(request(&url)).unwrap().0;
    let held = pool.take(&target).unwrap();
    // The server accepts no other connection. Once its queue is full the kernel answers no SYN (listen(2)).
    let mut queue = Vec::new();
    while let Ok(queued) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queue.push(queued.unwrap());
    }
    let waiting = pool.connection(&target);
    let freed = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        pool.put_back(held);
    };
    let (got, ()) = tokio::join!(waiting, freed);
    assert!(got.unwrap().used);
}

#[tokio::test]
async fn a_connection_to_another_host_is_not_taken() {
    let ((first, _), (second, connections)) = (server(answers).await, server(answers).await);
    let pool = Pool::new(Remembered::default());
    for url in [&first, &second, &second] {
        assert_eq!(ask(&pool, url).await.unwrap(), 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_spare_connection_is_opened_beside_a_slow_one_which_is_kept() {
    let closed = Arc::new(AtomicU32::new(0));
    let counted = closed.clone();
    // The server's kernel acknowledges the TLS handshake; the server never answers it.
    let (url, connections) = server(move |_, mut stream| {
        let closed = counted.clone();
        async move {
            while request_read(&mut stream).await {}
            closed.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let pool = Pool::new(Remembered::default());
    let target = Target { tls: true, ..prepared(request(&url)).unwrap().0 };
    let slow = async |time| {
        assert!(tokio::time::timeout(time, pool.connection(&target)).await.is_err());
        connections.swap(0, Ordering::SeqCst)
    };
    assert_eq!(slow(Duration::from_millis(1500)).await, 2);
    pool.limits().answered(Duration::from_secs(2));
    assert_eq!(slow(Duration::from_millis(1500)).await, 1, "the API is known to be slow");
    assert_eq!(closed.load(Ordering::SeqCst), 0);
    assert!(!pool.reach().is_doubtful());
}

#[tokio::test]
async fn a_call_that_takes_long_is_not_repeated() {
    let (url, connections) = server(|_, mut stream| async move {
        while request_read(&mut stream).await {
            tokio::time::sleep(Duration::from_secs(3)).await;
            stream.write_all(ANSWER).await.unwrap();
        }
    })
    .await;
    let pool = Pool::new(Remembered::default());
    assert_eq!([ask(&pool, &url).await.unwrap(), ask(&pool, &url).await.unwrap()], [200; 2]);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert!(pool.limits().spare() >= Duration::from_secs(6), "{:?}", pool.limits());
}
