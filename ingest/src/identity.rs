//! Which ingest this is: an id that outlives restarts, so that broadcasts left open are known as ours.

use std::io::{self, Write as _};
use std::path::Path;

use uuid::Uuid;

/// The id in the data folder, made at the first start.
pub(crate) fn load(folder: &Path) -> io::Result<String> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("ingest-id");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let id: Uuid = text.trim().parse().map_err(|error| {
                let path = path.display();
                io::Error::other(format!(
                    "{path} holds no id ({error}); delete it to get a new one"
                ))
            })?;
            Ok(id.to_string())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Uuid::now_v7().to_string();
            // Whole or not at all, also when the power fails.
            let draft = folder.join("ingest-id.new");
            let mut file = std::fs::File::create(&draft)?;
            file.write_all(id.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays() {
        let folder = std::env::temp_dir().join(format!("lemonair-identity-{}", Uuid::now_v7()));
        let first = load(&folder).unwrap();
        assert_eq!(load(&folder).unwrap(), first);
        std::fs::write(folder.join("ingest-id"), "nonsense").unwrap();
        assert!(load(&folder).unwrap_err().to_string().contains("delete it"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
