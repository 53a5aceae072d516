//! Databases beside the live one, on the same server: they hold tables of the same names, so that the
//! same statements fill them.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// What a rebuild has made so far.
    Shadow,
    /// What is only made to be compared, or for one room: it does not touch a rebuild that was cut off.
    Verify,
    Room,
    /// What was live before the last rebuild.
    Old,
}

impl Place {
    pub(crate) const ALL: [Place; 4] = [Place::Shadow, Place::Verify, Place::Room, Place::Old];

    /// The database's name, beside the one named `live`.
    pub(crate) fn beside(self, live: &str) -> String {
        let suffix = match self {
            Place::Shadow => "shadow",
            Place::Verify => "verify",
            Place::Room => "room",
            Place::Old => "old",
        };
        format!("{live}_{suffix}")
    }
}
