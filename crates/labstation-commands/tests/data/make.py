"""Writes the golden files of this folder. They are made by hand in the documented shape of a Lab Station's
documents (schema 1.0.0), with the habits of its serialiser: byte order mark, sorted keys, `[]` for empty maps,
`true` and `false` for the numbers 1 and 0. None was taken from a real host."""

import json
from pathlib import Path

HERE = Path(__file__).parent
BOM = b"\xef\xbb\xbf"


def dump(value):
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False).replace("{}", "[]")


NIC = {
    "name": "Ethernet",
    "wakeOnMagicPacket": True,
    "wakeOnPattern": False,
    "allowTurnOff": True,
    "wolReady": True,
    "wakeArmed": True,
    "complianceIssues": [],
}
WIFI = {**NIC, "name": "Wi-Fi", "wolReady": False, "wakeArmed": False, "complianceIssues": ["Wake on magic packet is off"]}
WAKE = {"armedDevices": ["Intel(R) Ethernet Connection"], "armedCount": True, "nicPower": [NIC, WIFI], "nicNonCompliant": ["Wi-Fi"]}
EVENT = {
    "timestamp": "2026-03-01T08:41:07Z",
    "user": "profesora.muñoz",
    "sessionId": True,
    "state": "Active",
    "force": True,
    "grace": 90,
    "message": "A reservation begins",
    "source": "session-guard",
}
OPERATIONS = {
    "lastPrepareSession": {"timestamp": "2026-03-01T08:42:10Z", "success": True, "durationMs": 63412, "user": "LABUSER"},
    "lastReleaseSession": {
        "timestamp": "2026-02-28T17:01:30Z", "success": False, "durationMs": 5120, "user": "",
        "rebootRequested": True, "rebootTimeout": 15,
    },
    "lastForcedLogoff": EVENT,
    "lastPowerAction": {"timestamp": "2026-02-28T20:00:00Z", "mode": "hibernate", "forced": True, "wakeReady": False, "delay": False},
    "lastSafeguardReboot": {},
}
SUMMARY = {"state": "ready", "ready": True, "issues": []}
STATUS = {
    "schemaVersion": "1.0.0",
    "timestamp": "2026-03-01T08:59:58Z",
    "identity": {"labUser": "LABUSER", "labUserExists": True},
    "remoteAppEnabled": True,
    "autoStartConfigured": True,
    "wake": WAKE,
    "power": {"activePlan": "High performance", "sleepCompliant": True, "hibernateCompliant": True},
    "sessions": {"entries": [], "labUserState": "Active", "otherUsers": ["técnico"], "hasOtherUsers": True, "localSessionActive": True},
    "summary": SUMMARY,
    "operations": OPERATIONS,
    "localSessionActive": True,
    "localModeEnabled": False,
}
HEARTBEAT = {
    "timestamp": "2026-03-01T09:00:00Z",
    "schemaVersion": "1.0.0",
    "host": "LAB-WS-01",
    "version": "3.0.3",
    "remoteAppEnabled": True,
    "autoStartConfigured": True,
    "wake": WAKE,
    "summary": SUMMARY,
    "operations": OPERATIONS,
    "status": STATUS,
}

write = lambda name, data: (HERE / name).write_bytes(data)
write("heartbeat.json", BOM + dump(HEARTBEAT).encode())
write("heartbeat-utf16.json", b"\xff\xfe" + dump(HEARTBEAT).encode("utf-16-le"))
FRESH = {
    **HEARTBEAT,
    "wake": {"armedCount": False, "armedDevices": [], "nicPower": []},
    "summary": {"state": "needs-action", "ready": False, "issues": ["No wake-armed devices", "Autologon is off"]},
    "operations": {key: {} for key in OPERATIONS},
    "status": {},
}
write("heartbeat-fresh.json", BOM + dump(FRESH).encode())
ODD = {
    "timestamp": "2026-03-01T10:00:00.5+01:00",
    "schemaVersion": "2.1.0",
    "host": 7,
    "summary": {"ready": "1", "issues": "one as text"},
    "wake": {"armedCount": "2", "nicPower": {"name": "Ethernet", "wolReady": 1}},
    "operations": {"lastPrepareSession": {"timestamp": "yesterday", "durationMs": "1500", "success": 0}},
    "status": {"localModeEnabled": 1, "localSessionActive": "false"},
    "futureField": {"kept": [1, 2, 3]},
}
write("heartbeat-odd.json", json.dumps(ODD).encode())
RAW = dump({**HEARTBEAT, "host": "LAB#WS"}).replace("#", "\x01\t").replace("A reservation begins", "first line\nsecond line")
write("heartbeat-control.json", RAW.encode())
write("status.json", BOM + dump(STATUS).encode())
lines = [json.dumps({**EVENT, "timestamp": f"2026-03-01T0{n}:00:00Z", "user": f"user{n}"}, sort_keys=True, ensure_ascii=False) for n in (6, 7, 8)]
write("events.jsonl", BOM + "".join(line + "\n" for line in lines).encode())
write("events-torn.jsonl", BOM + (lines[0] + "\nnot json\n" + lines[1] + "\r\n\n" + lines[2][:40]).encode())
