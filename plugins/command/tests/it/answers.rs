//! What a command says, at each stage.

use std::time::Duration;

use tidegate_plugin_sdk::testing::{MemoryFile, announcement, publication};
use tidegate_plugin_sdk::{Admission, Admit, Amendment, ErrorKind, FollowUp, PostAssembly, Verdict};

use crate::support::{Instance, instance, shell};

async fn admission(instance: &Instance) -> Admission {
    instance.command.admit(&announcement("a.json")).await.unwrap()
}

async fn follow_up(instance: &Instance) -> FollowUp {
    let file = MemoryFile::new("a.json", "{}");
    instance.command.follow_up(&file, &publication("event-1")).await.unwrap()
}

#[tokio::test]
async fn silence_is_yes() {
    for script in ["exit 0", "cat >/dev/null; echo '{}'", "echo all is well >&2"] {
        let instance = shell(script);
        assert_eq!(admission(&instance).await, Admission::allow(), "{script}");
        assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept, "{script}");
        assert_eq!(follow_up(&instance).await, FollowUp::Done, "{script}");
        instance.assert_clean();
    }
}

#[tokio::test]
async fn an_answer_says_no_and_why() {
    let instance =
        shell(r#"echo '{"reject": [{"path": "/a/0", "code": "too-old", "message": "trop ancien : 1999"}]}'"#);
    let issues = instance.issues().await;
    assert_eq!((issues[0].path.as_str(), issues[0].code.as_str()), ("/a/0", "too-old"));
    assert_eq!(issues[0].message, "trop ancien : 1999");
    let denied = admission(&shell(r#"echo '{"deny": {"status": 429, "reason": "enough for today"}}'"#)).await;
    assert_eq!(denied, Admission::deny(429, "enough for today"));
    let ended = follow_up(&shell(r#"echo '{"give_up": {"reason": "unknown company"}}'"#)).await;
    assert_eq!(ended, FollowUp::give_up("unknown company"));
}

#[tokio::test]
async fn what_is_announced_can_be_amended() {
    let amended = admission(&shell(r#"echo '{"amend": {"file_name": "b.json"}}'"#)).await;
    assert_eq!(amended, Admission::Allow(Amendment { file_name: Some("b.json".to_owned()), content_type: None }));
}

#[tokio::test]
async fn an_exit_code_says_no_with_the_first_line() {
    let instance = shell("echo; echo the file is too old; echo more; exit 65");
    let issues = instance.issues().await;
    assert_eq!(issues.len(), 1);
    assert_eq!((issues[0].path.as_str(), issues[0].code.as_str()), ("", "rejected"));
    assert_eq!(issues[0].message, "the file is too old");
    assert_eq!(admission(&instance).await, Admission::deny(403, "the file is too old"));
    assert_eq!(follow_up(&instance).await, FollowUp::give_up("the file is too old"));
    assert_eq!(shell("exit 65").issues().await[0].message, "the check refuses the file");
    let with_answer = shell(r#"echo '{"reject": [{"message": "one"}, {"message": "two"}]}'; exit 65"#);
    assert_eq!(with_answer.issues().await.len(), 2);
}

#[tokio::test]
async fn tools_with_codes_of_their_own_can_be_used() {
    let grep = ["/bin/sh", "-c", "! grep -H EICAR -- \"$1\"", "sh", "{path}"];
    let instance = instance(&grep, |config| config.reject_exit_codes = vec![1]);
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
    let Verdict::Reject(issues) = instance.validate(&MemoryFile::new("a b.txt", "an EICAR\n")).await.unwrap() else {
        panic!("accepted")
    };
    assert_eq!(issues[0].message, "a b.txt:an EICAR", "the client does not hear where the content lay");
}

#[tokio::test]
async fn later_is_another_try() {
    let instance = shell("echo locked; exit 75");
    assert_eq!(follow_up(&instance).await, FollowUp::retry("locked"));
    let error = instance.verdict().await.unwrap_err();
    assert!(error.retryable && error.context.contains("locked"), "{error}");
    assert!(instance.command.admit(&announcement("a.json")).await.unwrap_err().retryable);
    let after = follow_up(&shell(r#"echo '{"retry": {"reason": "busy", "after": "2m"}}'"#)).await;
    assert_eq!(after, FollowUp::Retry { reason: "busy".to_owned(), after: Some(Duration::from_secs(120)) });
}

#[tokio::test]
async fn what_is_no_answer_is_never_a_yes() {
    for script in ["echo OK", "echo '{\"rejcet\": []}'", "echo '[]'", "printf '\\377'", "echo '{}'; echo '{}'"] {
        let instance = shell(script);
        for error in [
            instance.verdict().await.unwrap_err(),
            instance.command.admit(&announcement("a.json")).await.unwrap_err(),
            instance.command.follow_up(&MemoryFile::new("a", ""), &publication("1")).await.unwrap_err(),
        ] {
            assert!(error.retryable && error.kind == ErrorKind::Unavailable, "{script}: {error}");
        }
    }
}

#[tokio::test]
async fn other_codes_and_signals_are_failures_that_may_pass() {
    for (script, said) in [
        ("exit 1", "exit status: 1"),
        ("exit 255", "exit status: 255"),
        ("no-such-program-anywhere", "exit status: 127"),
        ("kill -9 $$", "signal: 9"),
        ("kill -SEGV $$", "signal: 11"),
        ("echo '{}'; exit 2", "exit status: 2"),
    ] {
        let instance = shell(script);
        let error = instance.verdict().await.unwrap_err();
        assert!(error.retryable && error.context.contains(said), "{script}: {error}");
        instance.assert_clean();
    }
}

#[tokio::test]
async fn a_question_need_not_be_read_and_may_be_read_late() {
    let large = MemoryFile::new("a.json", "{}").declared(&"x".repeat(1 << 20));
    for script in [
        "exit 0",
        "exec <&-; echo '{}'",
        // More than a pipe holds goes each way before anything comes the other.
        "head -c 60000 /dev/zero | tr '\\0' ' '; head -c 60000 /dev/zero >&2; cat >/dev/null; echo '{}'",
    ] {
        let instance = shell(script);
        assert_eq!(instance.validate(&large).await.unwrap(), Verdict::Accept, "{script}");
    }
    let counted = shell("test $(wc -c) -gt 1000000 || exit 65");
    assert_eq!(counted.validate(&large).await.unwrap(), Verdict::Accept);
}

#[tokio::test]
async fn a_command_that_closes_its_output_early_is_waited_for() {
    let instance = shell("exec >&- 2>&-; sleep 0.2; exit 65");
    assert_eq!(instance.issues().await[0].message, "the check refuses the file");
    instance.assert_clean();
}
