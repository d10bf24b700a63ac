//! The report that people read: one HTML file without scripts, with nothing from elsewhere.
//!
//! What it shows comes out of a log that may lie and a register that anyone may have named units in:
//! every text is escaped, and every table has a limit and says what it leaves out.

mod gather;
mod page;
mod picture;

use super::{Monitor, Source};
use crate::state::StateError;

/// Text that means nothing but itself in HTML, inside an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Signs that turn the direction of a line would show another text than there is.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('?'),
            c if c.is_control() && c != '\n' => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

/// A number as people read it: 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut out = String::from(&digits[..first]);
    for start in (first..digits.len()).step_by(3) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&digits[start..start + 3]);
    }
    out
}

impl<S: Source> Monitor<'_, S> {
    /// A report of everything that was ever found, and of what holds at the newest audited head.
    ///
    /// # Errors
    /// As the state says.
    pub fn report(&mut self) -> Result<String, StateError> {
        let mut gathered = gather::Gathered::new(self.memory.frontier().size());
        for finding in self.memory.findings() {
            gathered.add(finding?);
        }
        let contests = self.each_current(&mut |finding| gathered.add(finding))?;
        let log = page::Log {
            origin: self.origin,
            audited: self.memory.audited(),
            head: self.memory.frontier().head(),
            checkpoint: self.memory.followed().map(|head| head.note()),
        };
        Ok(page::page(&log, &contests, &gathered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_only_text() {
        assert_eq!(escape("<a href='x\">&"), "&lt;a href=&#39;x&quot;&gt;&amp;");
        assert_eq!(escape("a\u{202e}b\u{0}c\nd"), "a?b?c\nd");
        assert_eq!(escape("K\u{e9}bon"), "K\u{e9}bon");
    }

    #[test]
    fn numbers_have_groups() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")];
        for (number, want) in cases {
            assert_eq!(grouped(number), want);
        }
    }
}
