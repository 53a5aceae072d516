//! Liveness, readiness for each thing that the gateway stands on, and metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use lemonair_consumers::watermarks;
use lemonair_schemas::Topic;
use serde_json::{Value, json};

use crate::App;

/// A dependency that takes longer is as good as down.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(json!({ "status": "ok" })) }),
        )
        .route("/readyz", get(ready))
        .route(
            "/metrics",
            get(|State(app): State<Arc<App>>| async move { app.metrics.render() }),
        )
}

/// 503 if anything is missing; says what. A gateway that drains is not ready.
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let kafka = async {
        watermarks(&app.kafka, &[Topic::Chat])
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let registry = async { app.codec.ping().await.map_err(|error| error.to_string()) };
    let database = async {
        lemonair_projections::database::ping(&app.pool)
            .await
            .map_err(|error| error.to_string())
    };
    let (kafka, registry, database) = tokio::join!(check(kafka), check(registry), check(database));
    let draining = app.draining.is_cancelled();
    let ready = kafka.is_none() && registry.is_none() && database.is_none() && !draining;
    let say = |fault: Option<String>| fault.unwrap_or_else(|| "ok".to_owned());
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "status": if ready { "ok" } else { "unready" },
        "kafka": say(kafka),
        "registry": say(registry),
        "database": say(database),
        "draining": draining,
    });
    (status, Json(body))
}

/// What is wrong with a dependency, if anything.
async fn check(answer: impl Future<Output = Result<(), String>>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.err(),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
