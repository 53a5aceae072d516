//! What viewers reach: WebSocket rooms, the HTTP API, the pages.
