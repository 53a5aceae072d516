//! Who may do what to whom in a room.

use lemonair_schemas::RoomId;

/// What somebody may do in a room. Each may do what the ones before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Nobody: a page that announces donations.
    Overlay,
    Viewer,
    /// Of this room or of the whole site.
    Moderator,
    Streamer,
    Operator,
}

// === impl Rank ===

impl Rank {
    /// As the account's name and its role for the whole site tell; a room's own moderators are known
    /// to the room. A channel has the name of its owner.
    pub fn of(name: &str, role: &str, room: &RoomId) -> Rank {
        match role {
            "operator" => Rank::Operator,
            _ if name.eq_ignore_ascii_case(room.as_str()) => Rank::Streamer,
            "moderator" => Rank::Moderator,
            _ => Rank::Viewer,
        }
    }

    /// Whether they may ban, time out or silence somebody of the other rank: only who stands below,
    /// and never the streamer or an operator.
    pub fn may_restrain(self, target: Rank) -> bool {
        self >= Rank::Moderator && target < Rank::Streamer && self > target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_restrain_whom() {
        use Rank::{Moderator, Operator, Streamer, Viewer};
        let all = [Viewer, Moderator, Streamer, Operator];
        let table = all.map(|actor| all.map(|target| actor.may_restrain(target)));
        assert_eq!(
            table,
            [
                [false, false, false, false],
                [true, false, false, false],
                [true, true, false, false],
                [true, true, false, false],
            ]
        );
    }

    #[test]
    fn the_site_and_the_name_give_a_rank() {
        let room = "mint".parse().unwrap();
        for (name, role, rank) in [
            ("lime", "viewer", Rank::Viewer),
            ("lime", "moderator", Rank::Moderator),
            ("Mint", "viewer", Rank::Streamer),
            ("Mint", "moderator", Rank::Streamer),
            ("Mint", "operator", Rank::Operator),
            ("lime", "something new", Rank::Viewer),
        ] {
            assert_eq!(Rank::of(name, role, &room), rank, "{name} {role}");
        }
    }
}
