//! A TCP connection with its place among those of its address: who is let in, for how long they may
//! take nothing, and the count of them go together from the door to the end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::places::Place;

/// Who takes nothing of what is sent for so long, or has vanished, is given up by the kernel.
const DEAF: Duration = Duration::from_secs(30);

/// Bytes that the kernel may hold before it has begun to send them.
const UNSENT: u32 = 128 * 1024;

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stream: TcpStream,
    _place: Place,
}

impl Line {
    pub(crate) fn new(stream: TcpStream, place: Place) -> Line {
        // Frames are whole when they are written: nothing is won by waiting for more.
        stream.set_nodelay(true).ok();
        #[cfg(target_os = "linux")]
        {
            let socket = SockRef::from(&stream);
            socket.set_tcp_user_timeout(Some(DEAF)).ok();
            socket.set_tcp_notsent_lowat(UNSENT).ok();
        }
        Line {
            stream,
            _place: place,
        }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(task, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(task, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(task, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(task)
    }
}
