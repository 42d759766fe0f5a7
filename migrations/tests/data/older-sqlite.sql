-- The older tables and rows as an SQLite file would have them.
CREATE TABLE auth_users (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  email VARCHAR(255) NOT NULL
);

CREATE TABLE lab_reservations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  transaction_hash VARCHAR(66) UNIQUE,
  user_id BIGINT,
  wallet_address VARCHAR(42),
  lab_id VARCHAR(128),
  start_time TIMESTAMP NOT NULL,
  end_time TIMESTAMP NOT NULL,
  block_number BIGINT,
  contract_address VARCHAR(42),
  status VARCHAR(32) NOT NULL DEFAULT 'PENDING',
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY (user_id) REFERENCES auth_users (id)
);

CREATE TABLE lab_hosts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name VARCHAR(128) NOT NULL UNIQUE,
  address VARCHAR(255) NOT NULL,
  mac VARCHAR(32),
  mode VARCHAR(32) NOT NULL DEFAULT 'pure',
  last_seen DATETIME,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE lab_host_heartbeat (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  host_id BIGINT NOT NULL,
  timestamp_utc DATETIME NOT NULL,
  ready BOOLEAN,
  local_mode BOOLEAN,
  local_session BOOLEAN,
  last_forced_logoff_ts DATETIME,
  last_forced_logoff_user VARCHAR(128),
  last_power_action_ts DATETIME,
  last_power_action_mode VARCHAR(32),
  raw_json LONGTEXT NOT NULL,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY (host_id) REFERENCES lab_hosts (id) ON DELETE CASCADE
);

CREATE TABLE lab_host_events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  host_id BIGINT NOT NULL,
  kind VARCHAR(64) NOT NULL,
  timestamp_utc DATETIME NOT NULL,
  payload JSON,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY (host_id) REFERENCES lab_hosts (id) ON DELETE CASCADE
);

CREATE TABLE reservation_operations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  reservation_id VARCHAR(128) NOT NULL,
  lab_id VARCHAR(128),
  host VARCHAR(128) NOT NULL,
  action VARCHAR(32) NOT NULL,
  status VARCHAR(32) NOT NULL,
  success BOOLEAN NOT NULL DEFAULT FALSE,
  response_code INT,
  duration_ms INT,
  payload JSON,
  message TEXT,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

INSERT INTO auth_users (id, email) VALUES (7, 'student@example.org');
INSERT INTO lab_reservations (id, transaction_hash, user_id, wallet_address, lab_id, start_time, end_time, status,
  created_at, updated_at) VALUES
  (1, '0xaa', 7, '0x01', '12', '2026-03-01 09:00:00', '2026-03-01 10:00:00', 'CONFIRMED', '2026-02-01 00:00:00', '2026-02-01 00:00:00'),
  (2, '0xbb', NULL, NULL, 'Bench', '2026-03-01 10:00:00', '2026-03-01 11:00:00', 'PENDING', '2026-02-01 00:00:00', '2026-02-01 00:00:00');
INSERT INTO lab_hosts (id, name, address, mac, mode, last_seen, created_at, updated_at) VALUES
  (3, 'Lab-WS-01', '10.0.0.11', '00:11:22:33:44:55', 'hybrid', '2026-03-01 08:00:00', '2026-01-01 00:00:00', '2026-03-01 08:00:00');
INSERT INTO lab_host_heartbeat (id, host_id, timestamp_utc, ready, raw_json, created_at) VALUES
  (4, 3, '2026-03-01 08:00:00', 1, '{"summary": {"ready": true}}', '2026-03-01 08:00:01');
INSERT INTO lab_host_events (id, host_id, kind, timestamp_utc, payload, created_at) VALUES
  (5, 3, 'session-guard', '2026-03-01 07:59:00', '{"user": "student"}', '2026-03-01 08:00:01');
INSERT INTO reservation_operations (id, reservation_id, lab_id, host, action, status, success, response_code, duration_ms,
  payload, message, created_at) VALUES
  (6, '0xaa', '12', 'Lab-WS-01', 'wake', 'completed', 1, 200, 10021, '{"mac": "00:11:22:33:44:55"}', 'Host reachable', '2026-02-20 08:58:12');
