"""Flights as examples (features with their label) in the order in which they landed, as JSON lines.

    landed_flights.py FOLDER COUNT      FOLDER holds flights.csv and weather.csv (`make data`)
"""
import csv
import json
import sys
from datetime import datetime, timedelta, timezone

folder, count = sys.argv[1], int(sys.argv[2])
MISSING = ("", "NA")


def number(row, name, missing):
    return missing if row[name] in MISSING else float(row[name])


with open(f"{folder}/weather.csv") as file:
    weather = {(row["origin"], row["month"], row["day"], row["hour"]): row for row in csv.DictReader(file)}
flights = []
with open(f"{folder}/flights.csv") as file:
    for row in csv.DictReader(file):
        if row["arr_delay"] in MISSING:
            continue
        hour = datetime.strptime(row["time_hour"][:19].replace("T", " "), "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        scheduled = hour + timedelta(minutes=int(float(row["minute"])))
        minutes = max(number(row, "dep_delay", 0) + number(row, "air_time", 150), 10)
        flights.append((scheduled + timedelta(minutes=minutes), scheduled, row["flight"], row))
flights.sort(key=lambda flight: flight[:3])
for index, (_, scheduled, _, row) in enumerate(flights[:count]):
    origin, month, day, hour = (row[name] for name in ("origin", "month", "day", "hour"))
    features = {
        "carrier": row["carrier"], "origin": origin, "dest": row["dest"], "tailnum": row["tailnum"],
        "flight": row["carrier"] + row["flight"], "hour": hour, "month": month, "route": origin + row["dest"],
        "origin_hour": origin + hour, "weekday": str(scheduled.weekday()), "date": f"{month}_{day}",
        "date_origin": f"{month}_{day}_{origin}", "date_hour": f"{month}_{day}_{hour}", "distance": float(row["distance"]),
    }
    seen = weather.get((origin, month, day, hour), {})
    for name in ("temp", "humid", "wind_speed", "precip", "visib"):
        if seen.get(name, "NA") not in MISSING:
            features[name] = float(seen[name])
    event = {"id": f"f{index}", "event_time": int(scheduled.timestamp() * 1000), "features": features}
    print(json.dumps(event | {"label": 1 if float(row["arr_delay"]) > 15 else 0}))
