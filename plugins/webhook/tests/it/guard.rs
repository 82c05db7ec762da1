//! Whom the plugin does not talk to.

use std::net::{Ipv4Addr, SocketAddr};

use tidegate_plugin_sdk::testing::{MemoryFile, announcement, publication};
use tidegate_plugin_sdk::{Admit, ErrorKind, FollowUp, PostAssembly, Validate};
use tokio::net::TcpListener;

use crate::receiver::{Receiver, answer, soon, webhook};

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let inside = Receiver::saying("200 OK", "", "{}").await;
    for status in ["301 x", "302 x", "303 x", "307 x", "308 x"] {
        let location = format!("location: http://127.0.0.1:{}/admin?token=abc\r\n", inside.port);
        let receiver = Receiver::saying(status, &location, "<a href='/admin?token=abc'>here</a>").await;
        let webhook = receiver.asked();
        let follow_up = webhook.follow_up(&MemoryFile::new("a", ""), &publication("1")).await.unwrap();
        let FollowUp::Retry { reason, .. } = follow_up else { panic!("{follow_up:?}") };
        assert!(reason.contains("redirects are not followed (this one leads to 127.0.0.1)"), "{reason}");
        assert!(!reason.contains("admin") && !reason.contains("abc"), "{reason}");
        let error = webhook.admit(&announcement("a")).await.unwrap_err();
        assert!(!error.retryable && error.to_string().contains("redirects are not followed"), "{error}");
        webhook.validate(&MemoryFile::new("a", "")).await.unwrap_err();
        assert_eq!(receiver.requests().len(), 3);
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn where_a_redirect_leads_is_said_in_short() {
    let location = format!("location: https://{}.example/\r\n", "x".repeat(4_000));
    let receiver = Receiver::saying("302 x", &location, "").await;
    let said = receiver.asked().admit(&announcement("a")).await.unwrap_err().to_string();
    assert!(said.contains("redirects are not followed: `url` must be") && said.len() < 300, "{said}");
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_unless_its_network_is_listed() {
    let receiver = Receiver::saying("200 OK", "", "").await;
    for name in ["localhost", "LOCALHOST"] {
        let url = format!("http://{name}:{}/", receiver.port);
        let refusing = webhook(&url, "insecure_http = true");
        let error = soon(refusing.admit(&announcement("a"))).await.unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Config, false), "{error}");
        let said = error.to_string();
        assert!(said.contains("localhost") && said.contains("allow_networks"), "{said}");
        let follow_up = refusing.follow_up(&MemoryFile::new("a", ""), &publication("1")).await.unwrap();
        assert!(
            matches!(&follow_up, FollowUp::Retry { reason, .. } if reason.contains("allow_networks")),
            "{follow_up:?}"
        );
        assert_eq!(receiver.connections(), 0);
    }

    let url = format!("http://localhost:{}/", receiver.port);
    let allowing = webhook(&url, "allow_networks = ['127.0.0.0/8']");
    let follow_up = soon(allowing.follow_up(&MemoryFile::new("a", ""), &publication("1"))).await.unwrap();
    assert_eq!((follow_up, receiver.requests().len()), (FollowUp::Done, 1));
    let other = webhook(&url, "allow_networks = ['10.0.0.0/8']");
    soon(other.admit(&announcement("a"))).await.unwrap_err();
    assert_eq!(receiver.requests().len(), 1);
}

/// The environment is the process's: the child runs the test below with a proxy in it.
#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let this = std::env::current_exe().unwrap();
    for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        let mut child = std::process::Command::new(&this);
        child.env(variable, "http://127.0.0.1:9").args(["guard::a_receiver_is_reached", "--exact"]);
        let output = child.output().unwrap();
        assert!(output.status.success(), "{variable}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }
}

#[tokio::test]
async fn a_receiver_is_reached() {
    let receiver = Receiver::saying("200 OK", "", "").await;
    receiver.asked().admit(&announcement("a")).await.unwrap();
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn who_does_not_listen_is_not_reached() {
    let free = {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let webhook = webhook(&format!("http://127.0.0.1:{free}/hunter2"), "allow_networks = ['127.0.0.1/32']");
    let error = soon(webhook.admit(&announcement("a"))).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true));
    let said = error.to_string();
    assert!(said.contains(&format!("127.0.0.1:{free}")) && said.contains("refused"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let follow_up = webhook.follow_up(&MemoryFile::new("a", ""), &publication("1")).await.unwrap();
    assert!(matches!(&follow_up, FollowUp::Retry { reason, .. } if reason.contains("refused")), "{follow_up:?}");
}

#[tokio::test]
async fn https_is_not_answered_by_a_receiver_without_it() {
    let receiver = Receiver::with("127.0.0.1:0", |mut stream, _| async move {
        use tokio::io::AsyncWriteExt;
        let _ = stream.write_all(answer("200 OK", "", "").as_bytes()).await;
    })
    .await;
    let webhook = webhook(&format!("https://127.0.0.1:{}/", receiver.port), "allow_networks = ['127.0.0.1/32']");
    let error = soon(webhook.admit(&announcement("a"))).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true), "{error}");
}
