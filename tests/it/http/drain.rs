//! Told to stop, the server lets what is under way end, and nothing else.

use tidegate::units::Period;

use super::*;

#[tokio::test]
async fn an_upload_under_way_ends_with_its_answer() {
    let served = serve(config()).await;
    let mut idle = served.connect().await;
    idle.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(idle.answer(false).await.status, 200);
    let silent = served.connect().await;
    let mut upload = served.connect().await;
    upload.send("POST /fileupload/wait HTTP/1.1\ncontent-length: 8", b"half").await;
    served.waiting.acquire().await.unwrap().forget();

    served.stop.cancel();
    // Idle ones close at once, while the upload goes on.
    assert!(idle.closed().await.is_empty());
    assert!(silent.closed().await.is_empty());
    upload.write(b"half").await;
    served.gate.add_permits(1);
    assert_eq!(upload.answer(false).await.text(), "8");
    assert!(TcpStream::connect(served.address).await.is_err(), "the server still accepts");
    assert_eq!(served.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn websockets_are_told_and_waited_for() {
    let served = serve(config()).await;
    let url = format!("ws://{}/api/files/ws", served.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    served.stop.cancel();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "goodbye");
    assert!(socket.next().await.unwrap().unwrap().is_close());
    let _ = socket.close(None).await;
    drop(socket);
    assert_eq!(served.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn what_takes_too_long_is_cut_and_counted() {
    let mut config = config();
    config.deadlines.drain = Period::of(SHORT);
    let served = serve(config).await;
    let mut stuck = served.connect().await;
    stuck.send("POST /fileupload/wait HTTP/1.1\ncontent-length: 4", b"ours").await;
    served.waiting.acquire().await.unwrap().forget();
    assert_eq!(served.stop().await, Drained { cut: 1 });
    assert!(stuck.closed().await.is_empty());
}
