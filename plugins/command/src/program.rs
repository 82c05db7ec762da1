//! Which program runs, and with which arguments: how it is found, and what the placeholders among the arguments stand for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Where the content lies.
pub const PATH: &str = "{path}";
/// The folder of the configuration.
pub const BASE: &str = "{base}";

/// What `command` says, ready to be run.
#[derive(Debug)]
pub struct Program {
    /// Absolute, but not followed where it is a link: programs are told by it what they are called.
    pub path: PathBuf,
    arguments: Vec<String>,
    base: PathBuf,
}

impl Program {
    /// Finds the program; a bare name in `search`, which is like `PATH`. Else says what is wrong with `command`.
    pub fn find(command: &[String], base: &Path, search: &str) -> Result<Self, String> {
        let Some((name, arguments)) = command.split_first() else {
            return Err(
                "is missing; name a program and its arguments, as [\"/usr/bin/python3\", \"{base}/check.py\"]".into()
            );
        };
        if command.iter().any(|text| text.contains('\0')) {
            return Err("has a null character in it, which no program can be given".to_owned());
        }
        let base = absolute(base).map_err(|error| format!("the configuration's folder: {error}"))?;
        let path = locate(name, &base, search)?;
        Ok(Self { path, arguments: arguments.to_vec(), base })
    }

    /// What is wrong with the arguments as far as can be told: a script that is not there, or is looked for where no command runs.
    pub fn issues(&self) -> Vec<String> {
        let has_extension = |argument: &str| Path::new(argument).extension().is_some();
        let with_extension = || self.arguments.iter().filter(|argument| has_extension(argument));
        let is_beside = |argument: &&String| Path::new(argument).is_relative() && self.base.join(argument).is_file();
        let mut issues: Vec<_> = with_extension()
            .filter(is_beside)
            .map(|argument| format!("has `{argument}` in it, which commands do not find: write `{{base}}/{argument}`"))
            .collect();
        // The first that is no option is what an interpreter runs.
        let script = self
            .arguments
            .iter()
            .find(|argument| !argument.starts_with('-'))
            .filter(|argument| has_extension(argument));
        let script = script.map(|argument| PathBuf::from(filled(argument, OsStr::new(PATH), self.base.as_os_str())));
        if let Some(script) = script.filter(|script| script.is_absolute() && !script.exists()) {
            issues.push(format!("has `{}` in it, which does not exist", script.display()));
        }
        issues
    }

    pub fn wants_path(&self) -> bool {
        self.arguments.iter().any(|argument| argument.contains(PATH))
    }

    pub fn arguments(&self, content: Option<&Path>) -> Vec<OsString> {
        let content = content.map_or(OsStr::new(""), Path::as_os_str);
        self.arguments.iter().map(|argument| filled(argument, content, self.base.as_os_str())).collect()
    }
}

/// In one go, so that a file that is named `{base}` stays what it is.
fn filled(template: &str, content: &OsStr, base: &OsStr) -> OsString {
    let mut filled = OsString::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        filled.push(before);
        if let Some(after) = from.strip_prefix(PATH) {
            filled.push(content);
            rest = after;
        } else if let Some(after) = from.strip_prefix(BASE) {
            filled.push(base);
            rest = after;
        } else {
            filled.push("{");
            rest = &from[1..];
        }
    }
    filled.push(rest);
    filled
}

fn locate(name: &str, base: &Path, search: &str) -> Result<PathBuf, String> {
    if name.is_empty() {
        return Err("begins with an empty text; a program's name is expected there".to_owned());
    }
    if name.contains('/') {
        let path = base.join(filled(name, OsStr::new(PATH), base.as_os_str()));
        return match why_not(&path) {
            None => Ok(path),
            Some(why) => Err(format!("`{}` {why}", path.display())),
        };
    }
    let folders = std::env::split_paths(search).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|path| why_not(path).is_none()).ok_or_else(|| {
        format!("there is no program `{name}` in {search}; give its whole path, or set PATH in `environment`")
    })
}

/// Why this cannot be run.
fn why_not(path: &Path) -> Option<String> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("does not exist".to_owned()),
        Err(error) => Some(format!("cannot be looked at: {error}")),
        Ok(found) if !found.is_file() => Some("is not a file".to_owned()),
        Ok(_) if access(path, Access::EXEC_OK).is_err() => Some("may not be executed; see `chmod +x`".to_owned()),
        Ok(_) => None,
    }
}

/// A folder out of the configuration, wherever a command runs.
pub fn absolute(folder: &Path) -> io::Result<PathBuf> {
    std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const SEARCH: &str = "/usr/bin:/bin";

    fn find(command: &[&str], base: &Path) -> Result<Program, String> {
        let command: Vec<String> = command.iter().map(|text| (*text).to_owned()).collect();
        Program::find(&command, base, SEARCH)
    }

    #[test]
    fn finds_programs_by_name_by_path_and_beside_the_configuration() {
        let base = tempfile::tempdir().unwrap();
        let script = base.path().join("check");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(["/usr/bin/sh", "/bin/sh"].map(PathBuf::from).contains(&find(&["sh"], base.path()).unwrap().path));
        assert_eq!(find(&["/bin/sh"], base.path()).unwrap().path, Path::new("/bin/sh"));
        for name in ["./check", "{base}/check"] {
            let found = find(&[name], base.path()).unwrap().path;
            assert!(found.is_absolute() && found.ends_with("check"), "{}", found.display());
        }
        assert!(find(&["check"], base.path()).is_err(), "a bare name is not looked for there");
    }

    #[test]
    fn says_why_a_program_cannot_be_run() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("plain"), "").unwrap();
        fs::create_dir(base.path().join("folder")).unwrap();
        for (command, why) in [
            (&[][..], "is missing"),
            (&[""], "empty"),
            (&["./absent"], "does not exist"),
            (&["./folder"], "is not a file"),
            (&["./plain"], "may not be executed"),
            (&["no-such-program"], "there is no program `no-such-program` in /usr/bin:/bin"),
            (&["/bin/sh", "a\0b"], "null"),
        ] {
            let said = find(command, base.path()).unwrap_err();
            assert!(said.contains(why), "{command:?}: {said}");
        }
    }

    #[test]
    fn placeholders_are_filled_once() {
        let base = Path::new("/etc/tidegate");
        let program = find(&["/bin/sh", "{base}/a.sh", "--in={path}", "{print}{", "{{path}}"], base).unwrap();
        assert!(program.wants_path());
        let content = Path::new("/tmp/{base} {path}");
        assert_eq!(
            program.arguments(Some(content)),
            ["/etc/tidegate/a.sh", "--in=/tmp/{base} {path}", "{print}{", "{/tmp/{base} {path}}"]
        );
    }

    #[test]
    fn scripts_have_to_be_there_and_named_in_full() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("check.py"), "").unwrap();
        fs::write(base.path().join("strict"), "").unwrap();
        let issues = |command: &[&str]| find(command, base.path()).unwrap().issues();
        let beside = issues(&["/bin/sh", "check.py", "{base}/check.py", "strict"]);
        assert!(beside.len() == 1 && beside[0].contains("write `{base}/check.py`"), "{beside:?}");
        for script in ["{base}/chekc.py", "/no/such/check.py"] {
            let absent = issues(&["/bin/sh", "-x", script, "{base}/out.log"]);
            assert!(absent.len() == 1 && absent[0].contains("does not exist"), "{absent:?}");
        }
        for well in [
            &["/bin/sh", "-c", "exit 0; a.b", "other.py"][..],
            &["/bin/sh", "{base}/check.py", "{path}", "{base}/later.log"],
        ] {
            assert_eq!(issues(well), Vec::<String>::new());
        }
    }
}
