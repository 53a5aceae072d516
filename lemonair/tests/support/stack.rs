//! Services of a test's own, for a test that kills them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Kafka, the registry and MariaDB in a folder of their own, started by `stack/stack`.
pub(crate) struct Stack {
    home: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Kafka,
    Mariadb,
}

impl Stack {
    pub(crate) fn start(name: &str) -> Stack {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "{name}_{}",
            uuid::Uuid::new_v4().simple().to_string().split_at(8).0
        ));
        let stack = Stack { home };
        stack.up();
        stack
    }

    /// Starts what does not run, and waits until it answers.
    pub(crate) fn up(&self) {
        let output = self.script("up").output().expect("run stack/stack");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "stack/stack up: {said}");
    }

    /// Addresses, as settings in the environment.
    pub(crate) fn addresses(&self) -> Vec<(String, String)> {
        let settings = std::fs::read_to_string(self.home.join("stack.toml")).expect("stack.toml");
        let lines = settings.lines().filter_map(|line| line.split_once(" = "));
        lines
            .map(|(name, value)| {
                let name = match name {
                    "database_url" => "DATABASE_URL".to_owned(),
                    name => format!("LEMONAIR_{}", name.to_uppercase()),
                };
                (name, value.trim_matches('"').to_owned())
            })
            .collect()
    }

    /// Ends a service as a machine failure would.
    pub(crate) fn kill(&self, service: Service) {
        let mark = match service {
            Service::Kafka => format!("-Dlemonair.stack={}/kafka", self.home.display()),
            Service::Mariadb => format!("--datadir={}/mariadb/data", self.home.display()),
        };
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc")
            .expect("list processes")
            .flatten()
        {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if arguments
                .split(|byte| *byte == 0)
                .any(|argument| argument == mark.as_bytes())
            {
                let id = entry.file_name();
                let status = Command::new("kill").arg("-9").arg(id).status();
                killed += u32::from(status.expect("run kill").success());
            }
        }
        assert!(killed > 0, "{service:?} does not run");
    }

    fn script(&self, command: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut script = Command::new(root.join("stack/stack"));
        script
            .arg(command)
            .env("LEMONAIR_STACK", &self.home)
            .env("FORCE", "1")
            .env_remove("LEMONAIR_KAFKA_BROKERS")
            .env_remove("LEMONAIR_REGISTRY_URL")
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null());
        script
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.script("stop").output().ok();
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.home).ok();
        }
    }
}
