//! Rooms that open at the same time ask the read models together: what comes while an answer is
//! under way is asked next, in one question. So a thousand rooms cost hardly more than one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use lemonair_projections::many;
use lemonair_schemas::RoomId;
use tokio::sync::oneshot;

use super::{Error, lock};

/// One kind of question about a room. Bounded by the connections, each of which asks one at a time.
pub(super) struct Together<A> {
    waiting: Mutex<VecDeque<(RoomId, Asker<A>)>>,
    /// Whoever has it asks for all who wait.
    turn: tokio::sync::Mutex<()>,
}

type Asker<A> = oneshot::Sender<Answer<A>>;
type Answer<A> = Result<A, Arc<lemonair_projections::Error>>;

// === impl Together ===

impl<A: Clone + Default> Together<A> {
    /// `read` is given rooms, at most [`many::MOST`], and may leave out those of which it knows nothing.
    /// It begins after this was called.
    pub(super) async fn ask<F>(
        &self,
        room: &RoomId,
        read: impl Fn(Vec<RoomId>) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = lemonair_projections::Result<HashMap<RoomId, A>>>,
    {
        let mut answer = self.wait(room);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => if let Ok(answer) = answer {
                    return Ok(answer?);
                },
                _turn = self.turn.lock() => {
                    self.answer(&read).await;
                    continue;
                }
            }
            // Whoever asked for us went away.
            answer = self.wait(room);
        }
    }

    fn wait(&self, room: &RoomId) -> oneshot::Receiver<Answer<A>> {
        let (asker, answer) = oneshot::channel();
        lock(&self.waiting).push_back((room.clone(), asker));
        answer
    }

    async fn answer<F>(&self, read: impl Fn(Vec<RoomId>) -> F)
    where
        F: Future<Output = lemonair_projections::Result<HashMap<RoomId, A>>>,
    {
        // Those who came in the same moment go along.
        tokio::task::yield_now().await;
        let portion: Vec<_> = {
            let mut waiting = lock(&self.waiting);
            waiting.retain(|(_, asker)| !asker.is_closed());
            let count = waiting.len().min(many::MOST);
            waiting.drain(..count).collect()
        };
        // We were answered in the moment in which our turn came.
        if portion.is_empty() {
            return;
        }
        let rooms: BTreeSet<&RoomId> = portion.iter().map(|(room, _)| room).collect();
        let found = read(rooms.into_iter().cloned().collect()).await;
        let found = found.map_err(Arc::new);
        for (room, asker) in portion {
            let answer = match &found {
                Ok(found) => Ok(found.get(&room).cloned().unwrap_or_default()),
                Err(error) => Err(Arc::clone(error)),
            };
            // Whoever asked may have gone.
            asker.send(answer).ok();
        }
    }
}

impl<A> Default for Together<A> {
    fn default() -> Together<A> {
        Together {
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl<A> fmt::Debug for Together<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together")
            .field("waiting", &lock(&self.waiting).len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::future::join_all;
    use futures::poll;
    use lemonair_projections::Error::Standstill;

    use super::*;

    type Found = lemonair_projections::Result<HashMap<RoomId, usize>>;

    fn room(n: usize) -> RoomId {
        format!("room{n}").parse().unwrap()
    }

    /// Knows the rooms below a hundred.
    async fn lengths(rooms: Vec<RoomId>) -> Found {
        tokio::task::yield_now().await;
        let known = rooms.into_iter().filter(|room| room.as_str().len() < 7);
        Ok(known
            .map(|room| (room.clone(), room.as_str().len()))
            .collect())
    }

    #[tokio::test]
    async fn what_comes_while_an_answer_is_under_way_is_asked_together() {
        let together = Together::default();
        let asked = Mutex::new(Vec::new());
        let rooms: Vec<RoomId> = (0..200).map(room).collect();
        let read = |rooms: Vec<RoomId>| {
            lock(&asked).push(rooms.len());
            lengths(rooms)
        };
        let answers = join_all(rooms.iter().map(|room| together.ask(room, read))).await;
        for (n, answer) in answers.into_iter().enumerate() {
            let expected = if n < 100 { rooms[n].as_str().len() } else { 0 };
            assert_eq!(answer.unwrap(), expected, "{n}");
        }
        assert_eq!(*lock(&asked), [64, 64, 64, 8]);
    }

    #[tokio::test]
    async fn who_asks_for_others_and_goes_away_leaves_nobody_waiting() {
        let together = Together::<usize>::default();
        let (first, second, third) = (room(1), room(2), room(3));
        let mut asking = Box::pin(together.ask(&first, |_| pending::<Found>()));
        let mut next = Box::pin(together.ask(&second, |_| pending::<Found>()));
        let mut last = Box::pin(together.ask(&third, lengths));
        assert!(poll!(&mut asking).is_pending());
        assert!(poll!(&mut next).is_pending());
        assert!(poll!(&mut last).is_pending());
        // They yield before they ask.
        assert!(poll!(&mut asking).is_pending());
        drop(asking);
        assert!(poll!(&mut next).is_pending());
        drop(next);
        assert_eq!(last.await.unwrap(), 5);
    }

    #[tokio::test]
    async fn all_who_asked_together_learn_what_went_wrong() {
        let together = Together::<usize>::default();
        let rooms: Vec<RoomId> = (0..9).map(room).collect();
        let read = |_| async { Found::Err(Standstill("nothing goes on")) };
        for answer in join_all(rooms.iter().map(|room| together.ask(room, read))).await {
            assert!(matches!(answer, Err(Error::Read(_))));
        }
    }
}
