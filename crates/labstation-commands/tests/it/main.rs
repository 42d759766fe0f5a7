//! What comes out of the station's documents; `tests/data/make.py` tells where they are from.

mod cost;
mod curl;
mod documents;
mod events;
mod hostile;
