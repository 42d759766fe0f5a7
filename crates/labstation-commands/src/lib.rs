//! The language of a Lab Station: typed commands to argument lines, and what the station says to typed values.
//!
//! Commands become words ([`StationCommand`], [`station_exe_line`], [`read_file`]), exit codes become meanings
//! ([`ExitMeaning`]), and the station's documents become values ([`parse_heartbeat`], [`parse_status`],
//! [`parse_events`], [`OsFacts`]). Nothing here opens a socket, waits, or knows a database; quoting the words
//! for Windows is the transport's part.
//!
//! Every text that ends up on a command line is refused if it could mean more than itself, also to a shell
//! that was not asked for. Every document is read tolerantly: what is absent or strange becomes `None` and a
//! warning, and only what is no JSON object at all becomes an error.
//!
//! ```
//! use std::time::Duration;
//! use labstation_commands::{ExitMeaning, PrepareOptions, StationCommand, station_exe_line};
//!
//! let prepare = StationCommand::PrepareSession(PrepareOptions {
//!     guard_grace: Some(Duration::from_secs(90)),
//!     ..PrepareOptions::default()
//! });
//! let line = station_exe_line(r"C:\LabStation\LabStation.exe", &prepare)?;
//! assert_eq!(line.args, ["prepare-session", "--guard-grace=90"]);
//! assert_eq!(prepare.meaning(1), ExitMeaning::DoneWithWarnings);
//! # Ok::<(), labstation_commands::LineError>(())
//! ```

mod allowed;
mod argument;
mod command;
mod exit;
mod line;
mod path;

mod cursor;
mod document;
mod encoding;
mod events;
mod heartbeat;
mod os_facts;
mod records;
mod stamp;
mod status;

pub use allowed::AllowedCommands;
pub use argument::ArgumentError;
pub use command::{
    GuardOptions, PowerMode, PowerOptions, PrepareOptions, ReleaseOptions, ServiceAction, StationCommand,
};
pub use exit::{ExitMeaning, meaning_of};
pub use line::{
    CURL_CANNOT_OPEN, CURL_PAST_END, CommandLine, LineError, content_length, raw_command_line, read_file,
    read_file_from, read_file_length, station_exe_line,
};
pub use path::{PathError, check_path};

pub use cursor::{
    Anchor, EventBatch, EventCursor, EventReading, EventsAnswer, EventsStep, FirstSight, LINE_LIMIT,
    PIECE_LENGTH, Piece, ReadLimits, Resync,
};
pub use document::{DOCUMENT_LIMIT, HeartbeatError, SchemaVersion};
pub use events::{Event, Events, last_event, parse_events};
pub use heartbeat::{Heartbeat, parse_heartbeat, parse_heartbeat_document};
pub use os_facts::{OsFacts, OsFactsError, parse_cim_datetime};
pub use records::{ForcedLogoff, NicPower, OperationRecord, PowerAction, ReleaseRecord};
pub use stamp::parse_stamp;
pub use status::{Status, parse_status};
