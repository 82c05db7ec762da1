//! One try: a question goes out to an address that was checked, and comes back as an answer of bounded size in bounded time. What
//! the answer means says [`crate::answer`].

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect, retry};
use tidegate_plugin_sdk::{ErrorKind, PluginError};
use tokio::time::{Instant, timeout_at};

use crate::authorities;
use crate::config::Receiver;
use crate::excerpt::excerpt;
use crate::guard::{Guard, HostRefused, Resolver, literal};
use crate::hidden::Hidden;
use crate::lookups::Lookup;
use crate::signature::Signed;

/// So much of an answer is read.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;
/// A receiver that asks to be left alone for longer is asked again all the same.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// An idle connection is not kept for longer: most receivers close theirs after a minute.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// What DNS can hold.
const LONGEST_HOST: usize = 253;

/// What sends questions to one receiver.
pub(crate) struct Sender {
    client: Client,
    url: Url,
    /// As it is named in logs: without the path and the query, where tokens often stand.
    host: String,
    guard: Arc<Guard>,
    headers: HeaderMap,
    hidden: Hidden,
    timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// The host of `Location`, where it is one that DNS can hold.
    pub(crate) redirected_to: Option<String>,
    /// At most [`MAX_ANSWER`].
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
    /// Of the body, where the status is no success.
    pub(crate) excerpt: String,
}

/// How the body of an answer ended.
#[derive(Debug)]
pub(crate) enum End {
    Whole,
    /// It was cut at [`MAX_ANSWER`].
    TooLong,
    BrokenOff(Failure),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The receiver has no address that may be dialled.
    Refused(String),
    TimedOut(Duration),
    Broken(reqwest::Error),
}

impl Sender {
    pub(crate) fn new(receiver: Receiver, lookup: Lookup) -> Result<Self, PluginError> {
        let guard = Arc::new(receiver.guard);
        let client = authorities::trust(Client::builder(), &receiver.url, receiver.authorities)
            .dns_resolver(Resolver::new(guard.clone(), lookup))
            // A proxy would find addresses on its own, and a redirect leads to whatever its author likes.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .http1_only()
            // Some other crate may switch these on for the whole binary; an answer is counted as it comes, and never unpacked.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            // Shared among the addresses of a name, so that the second is tried when the first does not answer.
            .connect_timeout(receiver.timeout)
            .pool_idle_timeout(IDLE_CONNECTION)
            .user_agent(concat!("tidegate-webhook/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                let context = "make the client; where it lacks certificates of authorities, install the package \
                               `ca-certificates`, or name a file as `ca_file`";
                PluginError::permanent(ErrorKind::Config, context).caused_by(error)
            })?;
        let Receiver { url, headers, hidden, timeout, .. } = receiver;
        Ok(Self { client, host: url.authority().to_owned(), url, guard, headers, hidden, timeout })
    }

    /// With its port, where that is none that goes without saying.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A text that repeats what the receiver wrote, without our secrets.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        match text.strip_suffix('…') {
            // It was cut there.
            Some(beginning) => self.hidden.leave_out(beginning, true) + "…",
            None => self.hidden.leave_out(text, false),
        }
    }

    /// Dropped, it drops the connection too.
    pub(crate) async fn send(&self, question: &Signed) -> Result<Answer, Failure> {
        // The client asks its resolver about names alone.
        if let Some(address) = literal(&self.url) {
            self.guard.check(address).map_err(|refusal| Failure::Refused(refusal.to_string()))?;
        }
        let deadline = Instant::now() + self.timeout;
        let mut response = match timeout_at(deadline, self.request(question).send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.failure(error)),
            Err(_) => return Err(Failure::TimedOut(self.timeout)),
        };
        let (body, end) = self.read(&mut response, deadline).await;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let status = response.status();
        let is_cut = !matches!(end, End::Whole);
        Ok(Answer {
            excerpt: if status.is_success() { String::new() } else { excerpt(&body, is_cut, &self.hidden) },
            status,
            retry_after: header(RETRY_AFTER).and_then(|text| retry_after(text, SystemTime::now())),
            redirected_to: header(LOCATION).and_then(|text| host_of(&self.url.join(text).ok()?)),
            body,
            end,
        })
    }

    fn request(&self, Signed { message, timestamp, signature }: &Signed) -> RequestBuilder {
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/cloudevents+json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", *timestamp)
            .body(message.body.clone());
        match signature {
            Some(signature) => request.header("webhook-signature", signature),
            None => request,
        }
    }

    async fn read(&self, response: &mut Response, deadline: Instant) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        loop {
            let end = match timeout_at(deadline, response.chunk()).await {
                Ok(Ok(Some(piece))) => {
                    let room = MAX_ANSWER - body.len();
                    body.extend_from_slice(&piece[..piece.len().min(room)]);
                    if piece.len() <= room {
                        continue;
                    }
                    End::TooLong
                }
                Ok(Ok(None)) => End::Whole,
                Ok(Err(error)) => End::BrokenOff(self.failure(error)),
                Err(_) => End::BrokenOff(Failure::TimedOut(self.timeout)),
            };
            return (body, end);
        }
    }

    fn failure(&self, error: reqwest::Error) -> Failure {
        let refused = causes(&error).find_map(|cause| cause.downcast_ref::<HostRefused>()).map(ToString::to_string);
        match refused {
            Some(why) => Failure::Refused(why),
            None if error.is_timeout() => Failure::TimedOut(self.timeout),
            // Its path and query may be secrets.
            None => Failure::Broken(error.without_url()),
        }
    }
}

impl Failure {
    /// For a stage whose answer cannot wait: only who is not reached may be reached a moment later.
    pub(crate) fn into_error(self, host: &str) -> PluginError {
        match self {
            Failure::Refused(why) => PluginError::permanent(ErrorKind::Config, format!("ask {host}: {why}")),
            failure => PluginError::retryable(ErrorKind::Unavailable, format!("ask {host}: {failure}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(why) => formatter.write_str(why),
            Failure::TimedOut(timeout) => write!(formatter, "no answer within {timeout:?} (timeout)"),
            Failure::Broken(error) => {
                let causes: Vec<_> = causes(error).map(ToString::to_string).collect();
                formatter.write_str(&causes.join(": "))
            }
        }
    }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (**error).source())
}

fn host_of(url: &Url) -> Option<String> {
    url.host_str().filter(|host| host.len() <= LONGEST_HOST).map(str::to_owned)
}

/// Seconds, or a date; a date that is past means now.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map_or(LONGEST_WAIT, Duration::from_secs),
        false => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use tidegate_plugin_sdk::testing::announcement;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::event::Message;
    use crate::lookups::system_lookup;

    fn sender(url: &str, allowed: &[&str], lookup: Lookup) -> Sender {
        let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
        let url: Url = url.parse().unwrap();
        let receiver = Receiver {
            hidden: Hidden::of(&url, &HeaderMap::new(), [].into_iter()),
            url,
            guard: Guard::new(allowed, false),
            authorities: Vec::new(),
            headers: HeaderMap::new(),
            timeout: Duration::from_secs(5),
        };
        Sender::new(receiver, lookup).unwrap()
    }

    async fn ask(sender: &Sender) -> Result<Answer, Failure> {
        let message = Message::admit("tidegate", &announcement("a.json")).unwrap();
        sender.send(&Signed::now(&[], message)).await
    }

    /// The first caller is answered, and its connection closed; nobody else is.
    async fn answer_once(listener: &TcpListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}}") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n").await.unwrap();
    }

    async fn nobody_came(listener: &TcpListener) -> bool {
        tokio::time::timeout(Duration::from_millis(100), listener.accept()).await.is_err()
    }

    #[tokio::test]
    async fn an_address_in_the_url_is_checked_before_each_try() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let refused = ask(&sender(&url, &[], system_lookup())).await;
        assert!(matches!(&refused, Err(Failure::Refused(why)) if why.contains("127.0.0.1/32")), "{refused:?}");
        assert!(nobody_came(&listener).await);
    }

    /// Its addresses are checked when they are used, and there is no second look that could find others.
    #[tokio::test]
    async fn a_name_that_leads_elsewhere_after_it_was_checked_is_refused() {
        let allowed = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = allowed.local_addr().unwrap().port();
        let inside = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let answers: Arc<Mutex<Vec<SocketAddr>>> =
            Arc::new(Mutex::new(vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap()]));
        let left = answers.clone();
        let lookup: Lookup = Arc::new(move |host| {
            assert_eq!(host, "rebound.example");
            Ok(vec![answers.lock().unwrap().pop().unwrap()])
        });
        let sender = sender(&format!("http://rebound.example:{port}/"), &["127.0.0.2/32"], lookup);

        let (answer, ()) = tokio::join!(ask(&sender), answer_once(&allowed));
        assert_eq!((answer.unwrap().status.as_u16(), left.lock().unwrap().len()), (204, 1));
        let refused = ask(&sender).await;
        assert!(matches!(&refused, Err(Failure::Refused(why)) if why.contains("rebound.example")), "{refused:?}");
        assert!(left.lock().unwrap().is_empty());
        assert!(nobody_came(&inside).await && nobody_came(&allowed).await);
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_may_be_there_later() {
        for found in [Ok(Vec::new()), Err(())] {
            let lookup: Lookup = Arc::new(move |_| found.clone().map_err(|()| std::io::Error::other("no such name")));
            let error = ask(&sender("https://a.example/", &[], lookup)).await.unwrap_err().into_error("a.example");
            assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_looked_up_in_time_is_given_up() {
        let (let_go, told) = std::sync::mpsc::channel::<()>();
        let (told, begun) = (Mutex::new(told), Arc::new(Mutex::new(0)));
        let counter = begun.clone();
        let lookup: Lookup = Arc::new(move |_| {
            *counter.lock().unwrap() += 1;
            let _ = told.lock().unwrap().recv();
            Ok(Vec::new())
        });
        let mut sender = sender("https://a.example/", &[], lookup);
        sender.timeout = Duration::from_millis(50);
        for _ in 0..3 {
            assert!(matches!(ask(&sender).await, Err(Failure::TimedOut(_))));
        }
        // Its thread may have to wait for a processor.
        while *begun.lock().unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(*begun.lock().unwrap(), 1, "one is enough for all who ask meanwhile");
        drop(let_go);
    }

    #[tokio::test]
    async fn the_second_address_is_tried_where_the_first_is_dead() {
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = alive.local_addr().unwrap().port();
        let lookup: Lookup = Arc::new(|_| {
            // Nobody listens on the first; the guard takes the second away.
            Ok(["127.0.0.2:0", "10.0.0.1:0", "127.0.0.1:0"].map(|address| address.parse().unwrap()).to_vec())
        });
        let sender = sender(&format!("http://a.example:{port}/"), &["127.0.0.0/8"], lookup);
        let (answer, ()) = tokio::join!(ask(&sender), answer_once(&alive));
        assert_eq!(answer.unwrap().status.as_u16(), 204);
    }

    #[test]
    fn reads_both_forms_of_retry_after() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Wed, 21 Oct 2026 07:30:00 GMT", Some(120)),
            ("Wed, 21 Oct 2026 07:00:00 GMT", Some(0)),
            ("Wed, 21 Oct 2099 07:00:00 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
