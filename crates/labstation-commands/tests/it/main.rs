//! What comes out of the station's documents; `tests/data/make.py` tells where they are from.

mod documents;
mod events;
mod hostile;
