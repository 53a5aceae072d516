//! Whether MySQL 8 would take our SQL, as far as that can be told without one: every migration, and every
//! statement that the read models, rebuilds and operators' commands really send, is parsed in MySQL's
//! dialect, and uses no word as a name that MySQL 8 reserves. What this cannot tell stands in
//! `docs/read-models.md`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use lemonair_testkit::within;
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::dead_letters::{self, Filter};
use crate::messages::Messages;
use crate::page::Slice;
use crate::rebuild::tests::history;
use crate::rebuild::{Options, rebuild, rebuild_room, rollback};
use crate::run::tests::{Stage, put_poison};
use crate::scratch::{actor, room};
use crate::{
    accounts, broadcasts, channels, donations, messages, moderation, projection, stats, wallets,
};

/// Reserved by MySQL 8 and not by MariaDB, so that no test on MariaDB would tell.
const RESERVED: [&str; 24] = [
    "CUBE",
    "CUME_DIST",
    "DENSE_RANK",
    "EMPTY",
    "EXCEPT",
    "FIRST_VALUE",
    "FUNCTION",
    "GROUPING",
    "GROUPS",
    "JSON_TABLE",
    "LAG",
    "LAST_VALUE",
    "LATERAL",
    "LEAD",
    "MANUAL",
    "NTH_VALUE",
    "NTILE",
    "OF",
    "PARALLEL",
    "PERCENT_RANK",
    "QUALIFY",
    "RANK",
    "ROW_NUMBER",
    "SYSTEM",
];

/// What the parser does not know, though both servers do: how it begins.
const UNPARSED: [&str; 5] = [
    "RENAME TABLE ",
    "DO RELEASE_LOCK(",
    "SET SESSION sql_mode",
    "SET sql_mode",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
];

/// Collects what sqlx says that it sends, on one thread: other tests run beside this one.
#[derive(Clone)]
struct Statements {
    thread: ThreadId,
    all: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Default)]
struct Sent {
    summary: String,
    whole: String,
}

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let ours = std::thread::current().id() == self.thread;
        if !ours || event.metadata().target() != "sqlx::query" {
            return;
        }
        let mut sent = Sent::default();
        event.record(&mut sent);
        let whole = if sent.whole.trim().is_empty() {
            sent.summary
        } else {
            sent.whole
        };
        let words: Vec<&str> = whole.split_whitespace().collect();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(words.join(" "));
    }
}

impl Visit for Sent {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// What is wrong with a statement, if anything.
fn fault(sql: &str) -> Option<String> {
    let tokens = match Tokenizer::new(&MySqlDialect {}, sql).tokenize() {
        Ok(tokens) => tokens,
        Err(error) => return Some(error.to_string()),
    };
    for token in &tokens {
        if let Token::Word(word) = token
            && word.quote_style.is_none()
            && RESERVED.contains(&word.value.to_uppercase().as_str())
        {
            return Some(format!("{} is reserved by MySQL 8", word.value));
        }
    }
    if UNPARSED.iter().any(|start| sql.starts_with(start)) {
        return None;
    }
    // The parser knows one of the two words that both servers take.
    let sql = sql.replace("DROP KEY ", "DROP INDEX ");
    let parsed = Parser::parse_sql(&MySqlDialect {}, &sql);
    parsed.err().map(|error| error.to_string())
}

#[test]
fn what_mysql_would_not_take_is_found() {
    for wrong in [
        "SELECT * FROM",
        "SELECT rank FROM donors",
        "INSERT INTO a (b) VALUES (?,)",
        "CREATE TABLE groups (id BIGINT)",
        "SELECT 1 FROM a WHERE b = 'open",
    ] {
        assert!(fault(wrong).is_some(), "{wrong}");
    }
}

#[test]
fn mysql_would_take_every_migration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let sql = std::fs::read_to_string(&path).unwrap();
        assert_eq!(fault(&sql), None, "{}", path.display());
        files += 1;
    }
    assert!(files > 8);
}

/// One thread, so that everything sent passes our ears.
#[tokio::test]
async fn mysql_would_take_every_statement() {
    let statements = Statements {
        thread: std::thread::current().id(),
        all: Arc::default(),
    };
    // Of the whole process: one of a thread alone may be forgotten when another thread is the first to
    // send. What was found out while nobody listened is found out anew.
    let listening = tracing_subscriber::registry().with(statements.clone());
    tracing::subscriber::set_global_default(listening).unwrap();
    tracing::callsite::rebuild_interest_cache();
    let stage = Stage::set().await;
    let running = stage.run();
    put_poison(
        &stage.cluster.kafka,
        lemonair_schemas::Topic::Chat,
        "mint",
        b"no",
    )
    .await;
    stage.reach(&stage.append(history(300)).await).await;
    read(&stage).await;

    let filter = Filter {
        ids: vec![stage.letters().await[0].id],
        topic: Some(lemonair_schemas::Topic::Chat),
        key: Some("mint".to_owned()),
        cause: Some("no".to_owned()),
        since: Some(lemonair_schemas::Timestamp(0)),
        until: Some(lemonair_schemas::Timestamp(1)),
        ..Filter::default()
    };
    let codec = &stage.cluster.codec;
    let pool = &stage.db.pool;
    for filter in [Filter::default(), filter] {
        dead_letters::retry(pool, codec, &filter, "ann", false)
            .await
            .unwrap();
        dead_letters::drop(pool, &filter, "ann").await.unwrap();
    }
    let projector = stage.projector();
    for projection in projection::ALL {
        let mut tell = |_| {};
        let whole = rebuild(&projector, projection, Options::default(), &mut tell);
        within("a rebuild", whole).await.unwrap();
    }
    let mut tell = |_| {};
    let back = rollback(&projector, &Messages, &mut tell);
    within("the way back", back).await.unwrap();
    let mint = room("mint");
    let one = rebuild_room(&projector, &Messages, &mint, Options::default(), &mut tell);
    within("a room", one).await.unwrap();
    let from = Options {
        from: Some(lemonair_schemas::Timestamp(0)),
        ..Options::default()
    };
    let some = rebuild(&projector, &Messages, from, &mut tell);
    within("a rebuild", some).await.unwrap();
    let now = lemonair_schemas::Timestamp::now();
    crate::status(pool, &stage.cluster.kafka, now)
        .await
        .unwrap();
    running.stop().await;

    let sent = statements.all.lock().unwrap().clone();
    // Tests, too, send some, and migrations are read above.
    let ours = sent.iter().filter(|sql| !sql.contains("_sqlx_migrations"));
    let wrong: Vec<String> = ours
        .clone()
        .filter_map(|sql| Some(format!("{}: {sql}", fault(sql)?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ours.count() > 100, "{sent:?}");
}

/// What pages and requests read.
async fn read(stage: &Stage) {
    let (pool, mint, slice) = (&stage.db.pool, room("mint"), Slice::start(5));
    let lime = actor("lime").id;
    accounts::by_name(pool, "lime").await.unwrap();
    channels::by_room(pool, &mint).await.unwrap();
    channels::list(pool, true, &slice).await.unwrap();
    channels::is_following(pool, &mint, lime).await.unwrap();
    channels::followed_by(pool, lime).await.unwrap();
    broadcasts::live(pool, &mint).await.unwrap();
    broadcasts::newest(pool, &mint).await.unwrap();
    broadcasts::all_live(pool).await.unwrap();
    broadcasts::left_open(pool, "one").await.unwrap();
    broadcasts::page(pool, &mint, &slice).await.unwrap();
    messages::page(pool, &mint, &slice).await.unwrap();
    messages::any(pool, &mint, Some(lime)).await.unwrap();
    donations::page(pool, &mint, &slice).await.unwrap();
    donations::rank(pool, &mint, donations::Period::All, 5)
        .await
        .unwrap();
    stats::of_room(pool, &mint).await.unwrap();
    wallets::entries(pool, lime, &slice).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let rooms = [mint.clone()];
    moderation::snapshots(&mut connection, &rooms, |_| 0)
        .await
        .unwrap();
    broadcasts::live_among(&mut connection, &rooms)
        .await
        .unwrap();
    messages::newest(&mut connection, &rooms, 5).await.unwrap();
    donations::newest(&mut connection, &rooms, 5).await.unwrap();
    moderation::held(pool, &mint).await.unwrap();
    moderation::pinned(pool, &mint).await.unwrap();
    moderation::log(pool, &mint, &slice).await.unwrap();
    wallets::sum(pool).await.unwrap();
}
