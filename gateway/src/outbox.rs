//! What waits to be sent to one connection. Bounded in bytes: a connection that does not take its
//! frames is closed with 4508 and comes back with its cursor; nothing is skipped in between.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;

use crate::frame::Form;
use crate::websocket;

/// Bytes that may wait. A viewer of a busy room reads far more than this in a second.
const LIMIT: usize = 256 * 1024;
/// Pieces that an empty queue keeps room for.
const ROOM: usize = 16;
/// Pings that may go without anything heard.
const SILENT_PINGS: u8 = 3;

/// Why a connection is closed. Clients come back with `since` from 4500 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    Token,
    Banned,
    TooSlow,
    Draining,
    Idle,
    /// The room cannot be read now.
    Unavailable,
    /// The client broke the protocol.
    Fault(websocket::Fault),
    /// The client said goodbye, with this code.
    Bye(Option<u16>),
}

#[derive(Debug, Default)]
pub struct Outbox {
    pub(crate) form: Form,
    waiting: Mutex<Waiting>,
    /// The connection's task.
    task: AtomicWaker,
    /// Pings since something was heard.
    silent: AtomicU8,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whole frames, some of them in two pieces.
    pieces: VecDeque<Bytes>,
    /// Of `pieces`, and of what was taken and is not sent yet.
    bytes: usize,
    close: Option<Close>,
}

impl Outbox {
    pub(crate) fn new(form: Form) -> Arc<Outbox> {
        Arc::new(Outbox {
            form,
            ..Outbox::default()
        })
    }

    pub(crate) fn push(&self, frame: Bytes) {
        self.push_all([frame]);
    }

    /// Pieces of one frame.
    pub(crate) fn push_all<const N: usize>(&self, pieces: [Bytes; N]) {
        let mut waiting = self.lock();
        if waiting.close.is_some() {
            return;
        }
        let before = waiting.bytes;
        waiting.bytes += pieces.iter().map(Bytes::len).sum::<usize>();
        // One frame may be larger than the limit: the history of a room, for instance.
        if waiting.bytes > LIMIT && before > 0 {
            waiting.pieces = VecDeque::new();
            waiting.close = Some(Close::TooSlow);
            metrics::counter!("lemonair_too_slow_total").increment(1);
        } else {
            waiting.pieces.extend(pieces);
        }
        drop(waiting);
        self.task.wake();
    }

    /// Ends the connection behind what waits.
    pub(crate) fn close(&self, close: Close) {
        self.lock().close.get_or_insert(close);
        self.task.wake();
    }

    /// Asks whether the client is still there, or gives it up.
    pub(crate) fn ping(&self) {
        if self.form == Form::Sse {
            // They cannot answer; proxies see that the line is in use, and the kernel whether it is.
            self.push(Bytes::from_static(b":\n\n"));
        } else if self.silent.fetch_add(1, Ordering::Relaxed) >= SILENT_PINGS {
            self.close(Close::Idle);
        } else {
            self.push(websocket::ping());
        }
    }

    /// Something came from the client.
    pub(crate) fn heard(&self) {
        self.silent.store(0, Ordering::Relaxed);
    }

    /// Waits until there is something to send, or the connection must end; puts what waits behind
    /// `sending`. Once sent, it is [`Outbox::sent`].
    pub(crate) fn poll_take(
        &self,
        task: &Context<'_>,
        sending: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Close>> {
        self.task.register(task.waker());
        let mut waiting = self.lock();
        let close = waiting.close;
        if waiting.pieces.is_empty() && close.is_none() {
            return Poll::Pending;
        }
        if sending.is_empty() {
            // The two queues change places, so that neither is made anew for each frame.
            std::mem::swap(sending, &mut waiting.pieces);
            waiting.pieces.shrink_to(ROOM);
        } else {
            sending.append(&mut waiting.pieces);
        }
        Poll::Ready(close)
    }

    /// What still waits when the connection ends.
    pub(crate) fn rest(&self) -> VecDeque<Bytes> {
        std::mem::take(&mut self.lock().pieces)
    }

    /// So many bytes of what was taken are on their way.
    pub(crate) fn sent(&self, bytes: usize) {
        self.lock().bytes -= bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Close ===

impl Close {
    /// What a WebSocket's close frame says.
    pub(crate) fn frame(self) -> Bytes {
        let (code, reason) = self.reason();
        websocket::close(code, &reason)
    }

    pub(crate) fn reason(self) -> (u16, Cow<'static, str>) {
        let (code, reason) = match self {
            Close::Token => (4401, "the token is not valid"),
            Close::Banned => (4403, "banned from the room"),
            Close::Unavailable => (4500, "the room's history cannot be read right now"),
            Close::Draining => (
                4503,
                "this gateway is going away; come back with your cursor",
            ),
            Close::Idle => (4504, "nothing was heard for too long"),
            Close::TooSlow => (4508, "too slow; come back with your cursor"),
            Close::Fault(fault) => return (fault.code(), fault.to_string().into()),
            Close::Bye(code) => (code.unwrap_or(1000), ""),
        };
        (code, reason.into())
    }
}
