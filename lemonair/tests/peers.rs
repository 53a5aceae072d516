//! Tools of others read what we write: kcat and Python the topics, DuckDB an export.

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use support::history::History;
use support::{Deployment, setting};
use tokio::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a command prints, and what it complains of.
async fn run(program: &Path, arguments: &[&str]) -> (String, String) {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("run {}: {error}", program.display()));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {stderr}", program.display());
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    (stdout, stderr)
}

/// With their libraries, from PyPI.
async fn python() -> PathBuf {
    let (path, _) = run(&root().join("stack/peers"), &[]).await;
    path.trim().into()
}

#[tokio::test]
async fn kcat_reads_a_topic() {
    let deployment = Deployment::new("kcat");
    let history = History::of(&deployment, 1_000).await;
    let topic = format!("{}chat", deployment.prefix());
    let brokers = setting("LEMONAIR_KAFKA_BROKERS");
    let read = [
        "-C",
        "-q",
        "-e",
        "-b",
        &brokers,
        "-t",
        &topic,
        "-o",
        "beginning",
    ];
    // Where it stands, its key, and the length of its value.
    let (lines, _) = run(
        Path::new("kcat"),
        &[&read[..], &["-f", "%p %o %k %S\\n"]].concat(),
    )
    .await;
    let mut found: Vec<(String, i64, i64)> = lines
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words.len(), 4, "{line}");
            let number = |word: &str| word.parse().expect("a number");
            (
                "lemonair.chat".to_owned(),
                number(words[0]),
                number(words[1]),
            )
        })
        .collect();
    found.sort();
    let mut all = history.good(i64::MIN..i64::MAX);
    all.extend(history.corrupt.clone());
    all.retain(|(topic, _, _)| topic == "lemonair.chat");
    all.sort();
    assert_eq!(found, all);
}

#[tokio::test]
async fn a_python_consumer_decodes_a_topic_by_the_registry() {
    let deployment = Deployment::new("python");
    let history = History::of(&deployment, 1_000).await;
    let script = root().join("docs/examples/consume.py");
    let arguments = [
        script.to_str().expect("UTF-8"),
        &setting("LEMONAIR_KAFKA_BROKERS"),
        &setting("LEMONAIR_REGISTRY_URL"),
        &format!("{}chat", deployment.prefix()),
    ];
    let (lines, complaints) = run(&python().await, &arguments).await;
    let mut found: Vec<(String, String)> = lines
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).expect("a JSON line");
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            assert!(
                event["at"].is_string() && event["actor"]["id"].is_string(),
                "{line}"
            );
            (text(&event["id"]), text(&event["text"]))
        })
        .collect();
    found.sort();
    let replayed = deployment.replay(&["chat"]).await;
    let mut ours: Vec<(String, String)> = replayed
        .iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            (text(&event["id"]), text(&event["text"]))
        })
        .collect();
    ours.sort();
    assert_eq!(found, ours);
    for (_, partition, offset) in &history.corrupt {
        let place = format!("partition {partition} offset {offset}:");
        assert!(
            complaints.contains(&place),
            "{place} is not in {complaints}"
        );
    }
}

#[tokio::test]
async fn duckdb_reads_an_export_and_the_example_draws_it() {
    let deployment = Deployment::new("duckdb");
    History::of(&deployment, 2_000).await;
    let export = [
        "export",
        "chat",
        "donations",
        "--format",
        "parquet",
        "-o",
        "all",
    ];
    deployment.run(&export).await;
    let python = python().await;
    let folder = deployment.data().join("all");
    let counts = format!(
        "import duckdb
duckdb.sql(\"SET TimeZone = 'UTC'\")
files = '{}/lemonair.chat/**/*.parquet'
for row in duckdb.execute('''SELECT room, count(*), min(\"at\"), max(length(text)) FROM
    read_parquet(?, hive_partitioning = false) GROUP BY room ORDER BY room''', [files]).fetchall():
    print(*(value.isoformat(timespec='milliseconds').replace('+00:00', 'Z') if hasattr(value, 'isoformat')
        else value for value in row), sep=',')",
        folder.display()
    );
    let (theirs, _) = run(&python, &["-c", &counts]).await;
    let sql =
        "SELECT room, count(*), min(at), max(length(text)) FROM chat GROUP BY room ORDER BY room";
    let ours = deployment.run(&["query", sql, "--format", "csv"]).await;
    let ours: Vec<&str> = ours.lines().skip(1).collect();
    assert_eq!(ours.len(), 5);
    assert_eq!(theirs.lines().collect::<Vec<_>>(), ours);

    let pictures = ["one.svg", "two.svg"].map(|name| deployment.data().join(name));
    let script = root().join("docs/examples/plot.py");
    let draw = async |picture: &Path| {
        let paths = [&script, &folder, picture].map(|path| path.to_str().expect("UTF-8"));
        let (said, _) = run(&python, &[paths[0], paths[1], "mint", paths[2]]).await;
        (said, std::fs::read_to_string(picture).expect("the picture"))
    };
    let (said, svg) = draw(&pictures[0]).await;
    let sql = "SELECT (SELECT count(*) FROM chat WHERE room = 'mint' AND type = 'chat.message')
        || ' messages, ' || sum(amount) || ' points: ' AS line
        FROM donations WHERE room = 'mint'";
    let ours = deployment.run(&["query", sql, "--format", "csv"]).await;
    let ours = ours.lines().nth(1).expect("a row").trim_matches('"');
    assert!(said.starts_with(ours), "{said} is not {ours}");
    assert!(svg.contains("<svg") && svg.contains(">messages a minute<"));
    assert!(draw(&pictures[1]).await.1 == svg, "the same again");
}
