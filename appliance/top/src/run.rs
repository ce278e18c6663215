//! The loop of the view.

use crate::backend::Escapes;
use crate::frame;
use crate::looker::Looker;
use crate::state::{Effect, State};
use luge_init::{Decoder, Terminal, TerminalSize};
use luge_observe::Observer;
use ratatui_core::layout::Size;
use ratatui_core::terminal::Terminal as Drawing;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Enters the alternate screen, and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";

/// Leaves it: default style, cleared screen, visible cursor.
const LEAVE: &str = "\x1b[0m\x1b[H\x1b[2J\x1b[?25h\x1b[?1049l";

/// Time limit for a terminal to take output; the rest of the frame is given up then.
const WRITE_TIMEOUT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Bytes that are written at once, so that a slow line is noticed.
const WRITE_BYTES: usize = 512;

/// Largest terminal that is drawn on.
const COLUMNS_MAX: usize = 500;
const ROWS_MAX: usize = 200;

/// A view: what is watched, and where.
pub struct Top<'a> {
    /// Observer of the Luge.
    pub observer: Observer,
    /// Name of the Luge, such as the path of its socket.
    pub title: String,
    /// Terminal.
    pub terminal: &'a Terminal,
    /// File that becomes readable when the view is to end, if there is one.
    pub stop: Option<BorrowedFd<'a>>,
}

/// Shows the view until its user leaves it, the terminal is closed, or the view is to end.
///
/// # Errors
/// No thread or pipe can be made; errors of poll(2).
pub fn run(top: Top<'_>) -> io::Result<()> {
    let mut view = View {
        looker: Looker::start(top.observer)?,
        state: State::new(top.title),
        drawing: Drawing::new(Escapes::new(size(top.terminal.size())))?,
        terminal: top.terminal,
        stop: top.stop,
        keys: Decoder::default(),
        next_look: Instant::now(),
    };
    view.write(ENTER)?;
    let shown = view.show();
    view.write(LEAVE)?;
    shown
}

/// Continuation of the loop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    More,
    End,
}

struct View<'a> {
    looker: Looker,
    state: State,
    drawing: Drawing<Escapes>,
    terminal: &'a Terminal,
    stop: Option<BorrowedFd<'a>>,
    keys: Decoder,
    next_look: Instant,
}

/// Events of a wait.
struct Ready {
    keys: bool,
    look: bool,
    stop: bool,
}

impl View<'_> {
    fn show(&mut self) -> io::Result<()> {
        loop {
            self.draw()?;
            if Instant::now() >= self.next_look {
                self.looker.look();
                self.next_look = Instant::now() + self.state.pace.interval();
            }
            let ready = self.wait()?;
            if ready.stop || ready.keys && self.read_keys()? == Next::End {
                return Ok(());
            }
            if ready.look
                && let Some(look) = self.looker.take()
            {
                self.state.observed.add(look);
            }
        }
    }

    /// Waits for keys, a snapshot, the end, or the time of the next look.
    fn wait(&self) -> io::Result<Ready> {
        let left = self.next_look.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let watched = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![watched(self.terminal.input()), watched(self.looker.bell())];
        fds.extend(self.stop.map(watched));
        match poll(&mut fds, Some(&left)) {
            // A signal, such as that of a new size.
            Err(Errno::INTR) => return Ok(Ready { keys: false, look: false, stop: false }),
            other => other?,
        };
        let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready { keys: is_ready(0), look: is_ready(1), stop: is_ready(2) })
    }

    fn read_keys(&mut self) -> io::Result<Next> {
        let mut buffer = [0; 256];
        let count = match rustix::io::read(self.terminal.input(), &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => return Ok(Next::More),
            Err(_) | Ok(0) => return Ok(Next::End),
            Ok(count) => count,
        };
        for byte in buffer.iter().take(count) {
            let Some(key) = self.keys.feed(*byte) else { continue };
            match self.state.press(key) {
                Effect::Leave => return Ok(Next::End),
                Effect::Repaint => self.drawing.clear()?,
                Effect::Draw => {}
            }
        }
        Ok(Next::More)
    }

    fn draw(&mut self) -> io::Result<()> {
        let began = Instant::now();
        self.drawing.backend_mut().resize(size(self.terminal.size()));
        let state = &mut self.state;
        self.drawing.draw(|frame| frame::draw(state, frame.area(), frame.buffer_mut()))?;
        let text = self.drawing.backend_mut().take();
        if !text.is_empty() {
            self.write(&text)?;
            self.state.pace.drawn_since(began);
        }
        Ok(())
    }

    /// Writes to the terminal. If it does not take all in time, all is drawn again the next time.
    fn write(&mut self, text: &str) -> io::Result<()> {
        if !write_all(self.terminal.output(), text.as_bytes()) {
            self.drawing.backend_mut().forget();
            self.drawing.clear()?;
        }
        Ok(())
    }
}

/// Writes to a terminal; false if it did not take all in time. A terminal that is gone is noticed by its input.
fn write_all(output: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let mut fds = [PollFd::from_borrowed_fd(output, PollFlags::OUT)];
        match poll(&mut fds, Some(&WRITE_TIMEOUT)) {
            Err(Errno::INTR) => continue,
            Err(_) | Ok(0) => return false,
            Ok(_) => {}
        }
        match rustix::io::write(output, bytes.get(..WRITE_BYTES).unwrap_or(bytes)) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) | Ok(0) => return false,
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
        }
    }
    true
}

/// Size of the frame on a terminal.
fn size(of: TerminalSize) -> Size {
    let within = |number: usize, max: usize| u16::try_from(number.min(max)).unwrap_or(u16::MAX);
    Size::new(within(of.columns, COLUMNS_MAX), within(of.rows, ROWS_MAX))
}
