//! The monitor, as the program that people run, against honest logs and every lie we know.

#[path = "monitor/affairs.rs"]
mod affairs;
#[path = "monitor/convict.rs"]
mod convict;
#[path = "monitor/election.rs"]
pub mod election;
#[path = "monitor/elsewhere.rs"]
mod elsewhere;
#[path = "monitor/fake.rs"]
pub mod fake;
#[path = "monitor/heads.rs"]
mod heads;
#[path = "monitor/honest.rs"]
pub mod honest;
#[path = "monitor/meaning.rs"]
mod meaning;
#[path = "monitor/page.rs"]
mod page;
#[path = "monitor/rules.rs"]
mod rules;
#[path = "monitor/sealed.rs"]
mod sealed;
#[path = "monitor/state.rs"]
mod state;
#[path = "monitor/wide.rs"]
pub mod wide;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

/// What a run of `jejak monitor --json` printed, and how it ended.
pub struct Run {
    pub exit: i32,
    pub lines: Vec<Value>,
    pub errors: String,
}

impl Run {
    /// The findings of this rule, by id.
    pub fn findings(&self, id: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["id"] == id).collect()
    }

    /// The only critical finding; there must be one.
    pub fn conviction(&self) -> &Value {
        let all: Vec<_> = self.lines.iter().filter(|line| line["severity"] == "critical").collect();
        assert_eq!(all.len(), 1, "{:#?}", self.lines);
        all[0]
    }

    /// The last line, where everything is counted.
    pub fn last(&self) -> &Value {
        self.lines.last().expect("a summary at the end")
    }

    /// The counts of all findings so far, by id.
    pub fn counts(&self) -> &Value {
        &self.last()["findings"]
    }
}

/// Runs `jejak monitor --once --json` with more arguments.
pub fn run(url: &str, policy: &Path, state: &Path, more: &[&str]) -> Run {
    let output = command(url, policy, state).args(["--once", "--json"]).args(more).output();
    let output = output.unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    Run {
        exit: output.status.code().expect("ended by itself"),
        lines: lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn command(url: &str, policy: &Path, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jejak"));
    command.args(["monitor", "--url", url]).stdin(Stdio::null());
    command.arg("-p").arg(policy).arg("--state").arg(state);
    command
}
