//! What people and scripts see: results on stdout, everything else on stderr.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::exit::Failure;

/// Where results go, and in which form.
#[derive(Clone, Debug)]
pub struct Output {
    json: bool,
    /// Whether a result could not be written, though somebody still reads. Clones share it.
    lost: Arc<AtomicBool>,
}

impl Output {
    /// Text for people, or one JSON object a line.
    pub fn new(json: bool) -> Self {
        Self { json, lost: Arc::default() }
    }

    /// Whether a result could not be written: a full disk must not pass for success.
    pub fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether results are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one result: `text` for people, `object` as one line of JSON.
    pub fn result(&self, text: impl FnOnce() -> String, object: &impl Serialize) {
        let line = match self.json {
            true => serde_json::to_string(object).expect("results are plain data"),
            false => text(),
        };
        self.print(&line);
    }

    /// A reader that has gone away has had enough; whatever else fails loses a result.
    fn print(&self, line: &dyn std::fmt::Display) {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.lost.store(true, Ordering::Relaxed)
            }
            _ => {}
        }
    }

    /// Prints a line for people only.
    pub fn text(&self, line: impl std::fmt::Display) {
        if !self.json {
            self.print(&line);
        }
    }

    /// Says something on stderr while the work goes on: a line of text, or one of JSON.
    pub fn notice(&self, text: impl FnOnce() -> String, object: &serde_json::Value) {
        let line = if self.json { object.to_string() } else { text() };
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Writes a file to stdout. A reader that has gone away has had enough.
    ///
    /// # Errors
    /// Fails if not all of it could be written: half a file is worse than none.
    pub fn whole(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    /// Says why the command failed and what to do next.
    pub fn failure(&self, failure: &Failure) {
        let mut stderr = io::stderr().lock();
        if self.json {
            let object = json!({
                "error": failure.message,
                "exit": failure.exit as u8,
                "next": failure.next,
            });
            let _ = writeln!(stderr, "{object}");
            return;
        }
        let _ = writeln!(stderr, "jejak: {}", failure.message);
        if let Some(next) = &failure.next {
            let _ = writeln!(stderr, "next: {next}");
        }
    }

    /// A bar for `len` steps of long work, shown on a terminal's stderr and nowhere else.
    pub fn progress(&self, len: u64, unit: &str) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::hidden());
        }
        let template = format!(
            "{{bar:32}} {{human_pos}}/{{human_len}} {unit} {{per_sec}} {{elapsed}} left {{eta}} {{msg}}"
        );
        let style = ProgressStyle::with_template(&template).expect("the template is well formed");
        let bar = ProgressBar::new(len).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }
}
