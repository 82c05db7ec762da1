//! `tidegate hooks`: the follow-ups of the running gateway, asked for by the operator's socket.

use std::fmt::Write;
use std::io;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Format, ask_running, print, print_json, refuse};
use crate::boot::control::{Answer, Request, Which};
use crate::config::LoadOptions;
use crate::http::api::admin::messages::{Count, FollowUpDetail, FollowUpEntry, FollowUpStatus, FollowUps, Hook, Hooks};

#[derive(Subcommand)]
pub enum HooksCommand {
    /// List the hooks that follow publications up, and what is owed, runs or failed.
    ///
    /// Without --state that is everything but what was done.
    List {
        /// Only of this hook, as `societes/erp`.
        #[arg(long, value_name = "COLLECTION/PLUGIN")]
        hook: Option<String>,
        /// Only in this state.
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only after this id: what to ask with for more.
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
        /// The most follow-ups of each state.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// How to write it.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show a follow-up with what came of its attempts.
    Show {
        /// Its number in the list.
        id: i64,
        /// How to write it.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Owe follow-ups anew, due at once, with every attempt before them.
    ///
    /// Also one that was done. Switches the hook on again, if its counterpart had it switched off.
    Retry(Chosen),
    /// Remove follow-ups: they are not owed any more.
    Discard(Chosen),
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub struct Chosen {
    /// Their numbers in the list.
    #[arg(group = "which")]
    ids: Vec<i64>,
    /// All dead letters of a hook.
    #[arg(long, group = "which", value_name = "COLLECTION/PLUGIN")]
    hook: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    Owed,
    Running,
    Done,
    Dead,
}

impl State {
    fn status(self) -> FollowUpStatus {
        match self {
            State::Owed => FollowUpStatus::Owed,
            State::Running => FollowUpStatus::Running,
            State::Done => FollowUpStatus::Done,
            State::Dead => FollowUpStatus::Dead,
        }
    }
}

impl HooksCommand {
    pub fn run(&self, options: &LoadOptions) -> io::Result<ExitCode> {
        match self {
            HooksCommand::List { hook, state, after, limit, format } => {
                let states = state.map_or(vec![State::Dead, State::Running, State::Owed], |state| vec![state]);
                list(options, hook.as_deref(), &states, *after, *limit, *format)
            }
            HooksCommand::Show { id, format } => match told(options, &Request::FollowUp(*id))? {
                Err(code) => Ok(code),
                Ok(value) if *format == Format::Json => print_json(&value),
                Ok(value) => print(&shown(&read::<FollowUpDetail>(value)?)),
            },
            HooksCommand::Retry(chosen) => chosen.each(options, Request::Retry, "owed anew"),
            HooksCommand::Discard(chosen) => chosen.each(options, Request::Discard, "discarded"),
        }
    }
}

impl Chosen {
    /// Asks for each, and says what came of it. Fails if one could not be done.
    fn each(&self, options: &LoadOptions, request: fn(Which) -> Request, done: &str) -> io::Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        let ids = self.ids.iter().map(|id| Which::One(*id));
        for which in ids.chain(self.hook.iter().cloned().map(Which::DeadOf)) {
            let count = match ask_running(options, &request(which.clone()))? {
                Err(code) => return Ok(code),
                Ok(Answer { done: true, value, .. }) => read::<Count>(value)?.count,
                Ok(Answer { text, .. }) => {
                    code = refuse(text.trim_end());
                    continue;
                }
            };
            match which {
                Which::One(id) => print(&format!("{id}: {done}"))?,
                Which::DeadOf(hook) => print(&format!("{hook}: {count} {done}"))?,
            };
        }
        Ok(code)
    }
}

fn list(
    options: &LoadOptions,
    hook: Option<&str>,
    states: &[State],
    after: Option<i64>,
    limit: u16,
    format: Format,
) -> io::Result<ExitCode> {
    let hooks = match told(options, &Request::Hooks)? {
        Err(code) => return Ok(code),
        Ok(value) => read::<Hooks>(value)?,
    };
    let of_interest = |name: &str| hook.is_none_or(|only| only == name);
    let hooks: Vec<Hook> = hooks.hooks.into_iter().filter(|hook| of_interest(&hook.hook)).collect();
    if let (Some(only), true) = (hook, hooks.is_empty()) {
        let message = format!("there is no hook `{only}`; they are named COLLECTION/PLUGIN, as societes/erp");
        return Ok(refuse(&format!("{message}, and without --hook all are listed")));
    }
    let mut pages: Vec<(State, FollowUps)> = Vec::new();
    for state in states {
        let hook = hook.map(str::to_owned);
        let request = Request::FollowUps { hook, state: Some(state.status()), after, limit };
        match told(options, &request)? {
            Err(code) => return Ok(code),
            Ok(value) => pages.push((*state, read(value)?)),
        }
    }
    match format {
        Format::Json => {
            let states = pages.iter().map(
                |(state, page)| json!({ "state": state.status(), "follow_ups": page.follow_ups, "next": page.next }),
            );
            print_json(&json!({ "hooks": hooks, "states": states.collect::<Vec<_>>() }))
        }
        Format::Human => {
            let also = hook.map_or_else(String::new, |hook| format!(" --hook {hook}"));
            print(&listed(&hooks, &pages, &format!("{also} --limit {limit}")))
        }
    }
}

/// The gateway's answer, or the exit code where it has none: then it has been said why.
fn told(options: &LoadOptions, request: &Request) -> io::Result<Result<Value, ExitCode>> {
    Ok(match ask_running(options, request)? {
        Err(code) => Err(code),
        Ok(Answer { done: true, value, .. }) => Ok(value),
        Ok(Answer { text, .. }) => Err(refuse(text.trim_end())),
    })
}

fn read<T: DeserializeOwned>(value: Value) -> io::Result<T> {
    serde_json::from_value(value).map_err(io::Error::other)
}

/// `flags` are those that ask for more of the same.
fn listed(hooks: &[Hook], pages: &[(State, FollowUps)], flags: &str) -> String {
    let mut text = String::new();
    if hooks.is_empty() {
        return "No hook follows publications up. To have one, name a plugin in a collection: post_assembly = [\"…\"]"
            .to_owned();
    }
    let width = hooks.iter().map(|hook| hook.hook.len()).max().unwrap_or(0).max(4);
    let _ = writeln!(text, "{:width$}  {:>8} {:>8} {:>8} {:>8}", "HOOK", "OWED", "RUNNING", "DEAD", "DONE");
    for hook in hooks {
        let _ = write!(
            text,
            "{:width$}  {:>8} {:>8} {:>8} {:>8}",
            hook.hook, hook.owed, hook.running, hook.dead, hook.done
        );
        if !hook.configured {
            text.push_str("  not configured any more");
        }
        if let Some(off) = &hook.switched_off.0 {
            let _ = write!(text, "  off since {}: {}", off.since, plain(&off.reason));
        }
        text.push('\n');
    }
    let rows: Vec<&FollowUpEntry> = pages.iter().flat_map(|(_, page)| &page.follow_ups).collect();
    if rows.is_empty() {
        text.push_str("\nNothing of that kind.\n");
        return text;
    }
    let _ = writeln!(text, "\n{:>8}  {:7}  {:>3}  {:29}  FILE", "ID", "STATE", "TRY", "NEXT OR ENDED");
    for row in &rows {
        let when = row.due.0.as_ref().or(row.ended.0.as_ref()).map_or("", String::as_str);
        let _ = writeln!(
            text,
            "{:>8}  {:7}  {:>3}  {when:29}  {} {}",
            row.id,
            state_word(row.state),
            row.attempts,
            row.hook,
            file_of(row)
        );
        if let Some(reason) = &row.reason.0 {
            let _ = writeln!(text, "{:>8}  {}", "", plain(reason));
        }
    }
    for (state, next) in pages.iter().filter_map(|(state, page)| Some((state, page.next.0?))) {
        let _ = writeln!(text, "There are more: --state {} --after {next}{flags}", state_word(state.status()));
    }
    text
}

/// What a counterpart said, without what would move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn file_of(row: &FollowUpEntry) -> String {
    match row.tenant.as_str() {
        "" => row.file_name.clone(),
        tenant => format!("{tenant}/{}", row.file_name),
    }
}

fn state_word(state: FollowUpStatus) -> &'static str {
    match state {
        FollowUpStatus::Owed => "owed",
        FollowUpStatus::Running => "running",
        FollowUpStatus::Done => "done",
        FollowUpStatus::Dead => "dead",
    }
}

fn shown(detail: &FollowUpDetail) -> String {
    let row = &detail.follow_up;
    let mut lines = vec![
        ("hook", row.hook.clone()),
        ("state", state_word(row.state).to_owned()),
        ("file", file_of(row)),
        ("version", row.version.clone()),
        ("size", format!("{} bytes", row.size)),
        ("published", row.published.clone()),
        ("event id", row.event_id.clone()),
        ("attempts", row.attempts.to_string()),
    ];
    let optional = [("next attempt", &row.due.0), ("ended", &row.ended.0), ("reason", &row.reason.0)];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    let mut text = format!("follow-up {}\n", row.id);
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:12}  {}", plain(&value));
    }
    if !detail.failed_attempts.is_empty() {
        text.push_str("failed attempts\n");
    }
    for attempt in &detail.failed_attempts {
        let _ = writeln!(text, "  {:>3}  {}  {}", attempt.attempt, attempt.at, plain(&attempt.reason));
    }
    text
}
