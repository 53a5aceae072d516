//! How a room's publisher does, for the gateway to pass on to its streamer.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::not_found;
use super::find;
use crate::health::{Audio, Health, Video};
use crate::rooms::Rooms;

pub(super) async fn health(State(rooms): State<Arc<Rooms>>, Path(room): Path<String>) -> Response {
    let Some((feed, health)) = find(&rooms, &room).and_then(|feed| {
        let health = feed.health()?;
        Some((feed, health))
    }) else {
        return not_found();
    };
    let mut told = told(&health);
    if let (Some(fault), Some(warnings)) = (feed.recording_fault(), told["warnings"].as_array_mut())
    {
        warnings.push(json!({
            "code": "recording",
            "value": null,
            "text": format!("the recording cannot be written, the broadcast goes on without it: {fault}"),
        }));
    }
    ([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response()
}

fn told(health: &Health) -> Value {
    let video = health.video.as_ref().map(|video| {
        let Video {
            codec,
            width,
            height,
            frames_per_second,
            kilobits_per_second,
            key_distance,
        } = video;
        json!({
            "codec": codec,
            "width": width,
            "height": height,
            "fps": frames_per_second,
            "kbps": kilobits_per_second,
            "key_frame_seconds": key_distance.map(|distance| distance.as_secs_f64()),
        })
    });
    let audio = health.audio.as_ref().map(|audio| {
        let Audio {
            codec,
            sample_rate,
            channels,
            kilobits_per_second,
        } = audio;
        json!({
            "codec": codec,
            "sample_rate": sample_rate,
            "channels": channels,
            "kbps": kilobits_per_second,
        })
    });
    let warnings: Vec<Value> = health
        .warnings
        .iter()
        .map(|warning| json!({ "code": warning.code(), "value": warning.value(), "text": warning.words() }))
        .collect();
    let restream: Vec<Value> = health
        .restream
        .iter()
        .map(|(target, state)| json!({ "target": target, "state": state.code(), "cause": state.cause() }))
        .collect();
    json!({
        "seconds": health.seconds,
        "encoder": health.encoder,
        "video": video,
        "audio": audio,
        "behind_ms": health.behind.as_millis() as u64,
        "dropped": {
            "unusable": health.dropped.unusable,
            "overlapping": health.dropped.overlapping,
            "jumps": health.dropped.jumps,
        },
        "restream": restream,
        "warnings": warnings,
    })
}
