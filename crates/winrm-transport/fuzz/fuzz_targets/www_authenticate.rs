#![no_main]

winrm_transport_fuzz::target!(www_authenticate);
