//! What the connection itself must see to, below HTTP: ambiguous framing and stalled readers.
//!
//! hyper drops `Content-Length` where `Transfer-Encoding` stands beside it, so no handler can know
//! that a request had two lengths, which is how one request is smuggled inside another (RFC 9112,
//! Section 11.2). [`Scanner`] reads along and remembers. It must never lose step with hyper, so
//! what hyper might read otherwise than the scanner counts as ambiguous. Nor does hyper bound the
//! time in which a client takes an answer: [`Wire`] does.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::decimal;

/// Bytes of a header line that are kept: longer than any field that is looked at, unless it is
/// spelled to be misread.
const LINE_KEPT_MAX: usize = 64;

/// Whether a connection ever sent a request whose length can be read in two ways. Shared with its
/// requests.
#[derive(Clone, Debug, Default)]
pub struct Framing(Arc<AtomicBool>);

impl Framing {
    /// Whether such a request came.
    pub fn is_ambiguous(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Where the next byte belongs.
#[derive(Debug)]
enum Place {
    /// A request line or a header.
    Head,
    /// A body with this many bytes to come.
    Body(u64),
    /// Behind a chunked head: the connection ends with that request, so nothing follows.
    Last,
}

/// Reads along with hyper and looks at nothing but how the length of each body is told.
#[derive(Debug)]
struct Scanner {
    place: Place,
    line: Vec<u8>,
    /// The line is longer than what is kept of it.
    cut: bool,
    any_line: bool,
    chunked: bool,
    length: Option<u64>,
    framing: Framing,
}

impl Scanner {
    fn new(framing: Framing) -> Self {
        let line = Vec::with_capacity(LINE_KEPT_MAX);
        let place = Place::Head;
        Self { place, line, cut: false, any_line: false, chunked: false, length: None, framing }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.place {
                Place::Last => return,
                Place::Body(left) => {
                    let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    bytes = &bytes[taken..];
                    let left = left - taken as u64;
                    self.place = if left == 0 { Place::Head } else { Place::Body(left) };
                }
                Place::Head => bytes = self.feed_head(bytes),
            }
        }
    }

    /// Takes bytes up to the end of a line.
    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let room = LINE_KEPT_MAX - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.cut |= part.len() > room;
        let Some(end) = end else { return &[] };
        self.end_line();
        &bytes[end + 1..]
    }

    fn end_line(&mut self) {
        let line = self.line.trim_ascii();
        match (line.is_empty(), self.any_line) {
            // Empty lines before a request line are skipped (RFC 9112, Section 2.2).
            (true, false) => {}
            (true, true) => self.end_head(),
            (false, _) => {
                self.any_line = true;
                self.note_field();
            }
        }
        self.line.clear();
        self.cut = false;
    }

    fn note_field(&mut self) {
        let Some(colon) = self.line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&self.line[..colon], self.line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = str::from_utf8(value).ok().and_then(decimal);
            // A second length, even the same, or one that is not spelled as the number it is.
            let ambiguous = self.cut || self.length.is_some() || length.is_none();
            self.framing.0.fetch_or(ambiguous, Ordering::AcqRel);
            self.length = length;
        }
    }

    fn end_head(&mut self) {
        let ambiguous = self.chunked && self.length.is_some();
        self.framing.0.fetch_or(ambiguous, Ordering::AcqRel);
        self.place = match (self.chunked, self.length.unwrap_or(0)) {
            (true, _) => Place::Last,
            (false, 0) => Place::Head,
            (false, length) => Place::Body(length),
        };
        (self.any_line, self.chunked, self.length) = (false, false, None);
    }
}

/// A socket with a [`Scanner`] on its way in and a bound on stalls on its way out.
pub(super) struct Wire<S> {
    socket: S,
    scanner: Scanner,
    stall_max: Duration,
    /// Set while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    pub(super) fn new(socket: S, framing: Framing, stall_max: Duration) -> Self {
        Self { socket, scanner: Scanner::new(framing), stall_max, stalled: None }
    }

    /// Ends a wait that is too long; any progress begins a new one.
    fn bounded<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall_max = self.stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall_max)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, into);
        if let Poll::Ready(Ok(())) = read {
            self.scanner.feed(&into.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.bounded(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, buffers);
        self.bounded(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        self.bounded(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(context);
        self.bounded(shut, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `requests` in pieces of `step` bytes.
    fn ambiguous(requests: &str, step: usize) -> bool {
        let framing = Framing::default();
        let mut scanner = Scanner::new(framing.clone());
        requests.as_bytes().chunks(step).for_each(|piece| scanner.feed(piece));
        framing.is_ambiguous()
    }

    #[test]
    fn two_lengths_are_seen_and_bodies_are_not_read_as_heads() {
        let two = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        let swapped = "transfer-encoding:chunked\r\nCONTENT-LENGTH:5\r\n\r\n";
        let double = "Content-Length: 5\r\nContent-Length: 5\r\n\r\n";
        let long = "Content-Length: 99999999999999999999\r\n\r\n";
        let lf = "Content-Length: 5\nTransfer-Encoding: chunked\n\n";
        let zeros = format!("Content-Length: {}5\r\n\r\n", "0".repeat(70));
        let spaces = format!("Content-Length: {}5\r\n\r\n", " ".repeat(70));
        let short = "Content-Length: 05\r\n\r\n";
        let signed = "Content-Length: +5\r\n\r\n";
        let list = "Content-Length: 5, 5\r\n\r\n";
        let none = "Content-Length:\r\n\r\n";
        let padding = format!("X-Long: {}\r\n", "a".repeat(500));
        let first = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{two}", two.len());
        for step in [1, 2, 7, 1000] {
            for head in [two, swapped, double, long, lf, &zeros, &spaces, short, signed, list, none]
            {
                assert!(ambiguous(&format!("POST / HTTP/1.1\r\n{head}"), step), "{head}");
                let later = format!("{first}\r\nPOST / HTTP/1.1\r\n{padding}{head}");
                assert!(ambiguous(&later, step), "{head}");
            }
            assert!(!ambiguous(&first, step), "a body is not a head");
            assert!(!ambiguous(&format!("{first}GET / HTTP/1.1\r\n{padding}\r\n"), step));
            let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
            assert!(!ambiguous(&format!("{chunked}5\r\nhello\r\n0\r\n\r\n{two}"), step));
        }
    }
}
