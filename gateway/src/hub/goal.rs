//! The hub's part in goals: who is in a room is told how far its goal has come. No fact, but the read
//! model's figure: the same for everybody, however late they came.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lemonair_projections::donations;
use lemonair_schemas::{Event, Position, RoomId, Timestamp};
use serde_json::json;

use super::{Error, Hub, lock};

/// However many donations come, a room is told no more often.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the read model may lag before its figure is told as it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rooms that are looked up at once.
const AT_ONCE: usize = 8;

impl Hub {
    /// Remembers that a goal may have moved; one entry a room.
    pub(super) fn note_goal(&self, room: &RoomId, events: &[(Position, &Event)]) {
        let moves = |event: &Event| {
            matches!(
                event,
                Event::DonationAccepted(_) | Event::DonationRefunded(_) | Event::GoalStarted(_)
            )
        };
        if let Some((position, _)) = events.iter().rfind(|(_, event)| moves(event)) {
            lock(&self.goals).insert(room.clone(), *position);
            self.goal_moved.notify_one();
        }
    }

    /// Tells rooms how far their goals have come, for ever.
    pub(super) async fn tell_goals(&self) {
        loop {
            self.goal_moved.notified().await;
            tokio::time::sleep(PAUSE).await;
            let moved = std::mem::take(&mut *lock(&self.goals));
            futures::stream::iter(moved)
                .for_each_concurrent(AT_ONCE, async |(room, position)| {
                    if let Err(error) = self.tell_goal(&room, position).await {
                        tracing::warn!(%room, %error, "look up goal");
                    }
                })
                .await;
        }
    }

    async fn tell_goal(&self, id: &RoomId, position: Position) -> Result<(), Error> {
        if !self.checkpoints.wait("donations", position, PATIENCE).await {
            // What is told now is old, and is told again.
            lock(&self.goals).entry(id.clone()).or_insert(position);
            self.goal_moved.notify_one();
        }
        let goal = donations::goal(&self.pool, id).await.map_err(Arc::new)?;
        let Some(goal) = goal else {
            return Ok(());
        };
        if let Some(entry) = self.entry(id) {
            let told = json!({ "type": "goal.progress", "at": Timestamp::now(), "goal": goal });
            lock(&entry.room).tell(&told.to_string());
        }
        Ok(())
    }
}
