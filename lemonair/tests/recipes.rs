//! The statements of docs/recipes.md, on an evening whose answers are known.

mod support;

use std::path::Path;

use support::Deployment;
use support::evening::evening;

/// Headings of the page, and what their statements answer.
const ANSWERS: [(&str, &str); 8] = [
    (
        "The busiest minutes",
        "minute,messages\n\
         2026-01-02T20:05,3\n\
         2026-01-02T20:00,2\n\
         2026-01-02T20:06,1\n",
    ),
    ("Who gave most", "name,points\nben,700\ncho,200\n"),
    (
        "Viewers who became donors",
        "room,spoke,gave,percent\nbasil,1,0,0.0\nmint,3,2,66.7\n",
    ),
    (
        "Sessions of a viewer",
        "session,first,last,messages\n\
         1,2026-01-02T20:00:10.000Z,2026-01-02T20:05:00.000Z,2\n\
         2,2026-01-02T21:10:00.000Z,2026-01-02T21:10:00.000Z,1\n",
    ),
    (
        "What moderators did",
        "moderator,type,times,last\n\
         mint,member.banned,1,2026-01-02T20:40:00.000Z\n\
         sage,chat.deleted,1,2026-01-02T20:07:00.000Z\n\
         sage,member.timed_out,2,2026-01-02T20:09:00.000Z\n",
    ),
    (
        "How many watched",
        "minute,room,viewers\n\
         2026-01-02T20:00,basil,1\n\
         2026-01-02T20:00,mint,2\n\
         2026-01-02T20:01,basil,1\n\
         2026-01-02T20:01,mint,8\n",
    ),
    (
        "Messages a minute around each donation",
        "donation,room,amount,before,after\n\
         2026-01-02T20:05:10.000Z,mint,500,0.8,0.4\n\
         2026-01-02T20:06:30.000Z,mint,300,0.6,0.2\n\
         2026-01-02T21:09:30.000Z,mint,200,0.0,0.2\n",
    ),
    (
        "Broadcasts, and what was given in each",
        "room,began,ended,reason,points\n\
         mint,2026-01-02T20:00:00.000Z,2026-01-02T21:30:00.000Z,unpublished,1000\n",
    ),
];

/// Heading and statement of each recipe.
fn recipes() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes.md");
    let page = std::fs::read_to_string(page).expect("read docs/recipes.md");
    let sections = page.split("\n## ").skip(1);
    let recipe = |section: &str| {
        let (heading, text) = section.split_once('\n').expect("text below its heading");
        let mut blocks = text.split("```sql\n").skip(1);
        let block = blocks.next().expect("a statement");
        assert!(blocks.next().is_none(), "{heading} has one statement");
        let (sql, _) = block.split_once("```").expect("the end of the statement");
        (heading.to_owned(), sql.to_owned())
    };
    sections.map(recipe).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recipe_of_the_page_answers_what_is_known() {
    let deployment = Deployment::new("recipes");
    evening(&deployment).await;
    let topics = ["chat", "donations", "streams", "presence"];
    let export = [
        &["export"],
        &topics[..],
        &["--format", "parquet", "-o", "all"],
    ]
    .concat();
    deployment.run(&export).await;
    let recipes = recipes();
    let headings: Vec<&str> = recipes
        .iter()
        .map(|(heading, _)| heading.as_str())
        .collect();
    assert_eq!(headings, ANSWERS.map(|(heading, _)| heading));
    for ((heading, sql), (_, answer)) in recipes.iter().zip(ANSWERS) {
        let query = ["query", sql, "--format", "csv"];
        let found = deployment.run(&query).await;
        assert_eq!(found.replace("\r\n", "\n"), answer, "{heading}");
        let found = deployment
            .run(&[&query[..], &["--export", "all"]].concat())
            .await;
        assert_eq!(
            found.replace("\r\n", "\n"),
            answer,
            "{heading}, of an export"
        );
    }
}
