//! Loopback addresses that no other test process uses at the same time.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// UDP port on the first address of a /24 block that marks the block as taken by a process.
const MARK_PORT: u16 = 15_985;
/// The addresses 127.1.0.0 to 127.254.255.255 in blocks of 256.
const BLOCKS: u32 = 254 * 256;

struct Pool {
    /// Sockets that hold our blocks until the process ends.
    marks: Vec<UdpSocket>,
    next_block: u32,
    free: Vec<Ipv4Addr>,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);

/// Gives `n` loopback addresses on which the ports 5985 and 5986 are free, distinct between all processes that ask here
/// and never given twice by one process. Fewer come back only if the 127.0.0.0/8 network has no free block left.
pub fn block(n: usize) -> Vec<Ipv4Addr> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = pool.get_or_insert_with(|| Pool {
        marks: Vec::new(),
        // Any start will do; spread by process id so that parallel processes seldom collide.
        next_block: std::process::id().wrapping_mul(61) % BLOCKS,
        free: Vec::new(),
    });
    let mut given = Vec::with_capacity(n);
    while given.len() < n {
        match pool.free.pop() {
            Some(address) if is_free(address) => given.push(address),
            Some(_) => {}
            None => {
                if !pool.take_block() {
                    break;
                }
            }
        }
    }
    given
}

impl Pool {
    fn take_block(&mut self) -> bool {
        for _ in 0..BLOCKS {
            let block = self.next_block;
            self.next_block = (self.next_block + 1) % BLOCKS;
            let [_, _, high, low] = (block + 256).to_be_bytes();
            if let Ok(mark) = UdpSocket::bind((Ipv4Addr::new(127, high, low, 1), MARK_PORT)) {
                self.marks.push(mark);
                self.free
                    .extend((2..=254).rev().map(|last| Ipv4Addr::new(127, high, low, last)));
                return true;
            }
        }
        false
    }
}

fn is_free(address: Ipv4Addr) -> bool {
    TcpListener::bind((address, 5985)).is_ok() && TcpListener::bind((address, 5986)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_loopback_and_never_given_twice() {
        let mut all = block(300);
        all.extend(block(5));
        assert_eq!(all.len(), 305);
        assert!(all.iter().all(|a| a.is_loopback()));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 305);
    }
}
