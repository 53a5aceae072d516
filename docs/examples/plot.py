"""Draws an evening of a room from an export in Parquet: messages a minute, and what was given.

    lemonair export chat donations --format parquet -o exports
    python plot.py exports mint evening.svg
"""

import sys

import duckdb
import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates
import matplotlib.pyplot as plt

# Text stays text, and the same evening gives the same bytes.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "evening"})
folder, room, picture = sys.argv[1:]
duckdb.sql("SET TimeZone = 'UTC'")


def rows(topic, sql):
    files = f"{folder}/lemonair.{topic}/**/*.parquet"
    return duckdb.execute(sql.format("read_parquet(?, hive_partitioning = false)"), [files, room]).fetchall()


said = rows(
    "chat",
    """SELECT time_bucket(INTERVAL 1 minute, "at") AS minute, count(*)
       FROM {} WHERE room = ? AND type = 'chat.message' GROUP BY minute ORDER BY minute""",
)
given = rows(
    "donations",
    """SELECT "at", amount
       FROM {} WHERE room = ? AND type = 'donation.accepted' ORDER BY "at" """,
)

figure, messages = plt.subplots(figsize=(10, 4), layout="constrained")
messages.plot(*zip(*said), color="#3f7d20", linewidth=1.2, label="messages a minute")
messages.set_ylabel("messages a minute")
messages.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
messages.set_title(f"{room}: {sum(count for _, count in said):,} messages, {len(given):,} donations")
points = messages.twinx()
points.scatter(*zip(*given), s=18, color="#e6a700", label="points of a donation")
points.set_ylabel("points of a donation")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
figure.savefig(picture, format="svg", metadata={"Date": None})
print(f"{sum(count for _, count in said)} messages, {sum(amount for _, amount in given)} points: {picture}")
