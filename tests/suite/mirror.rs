//! The mirror: against honest logs, every lie of a source, damage of its own disk, and kills.

#[path = "mirror/clients.rs"]
mod clients;
#[path = "mirror/cosigned.rs"]
mod cosigned;
#[path = "mirror/damage.rs"]
mod damage;
#[path = "mirror/gone.rs"]
mod gone;
#[path = "mirror/honest.rs"]
mod honest;
#[path = "mirror/kill.rs"]
mod kill;
#[path = "mirror/lying.rs"]
mod lying;
#[path = "mirror/place.rs"]
mod place;
#[path = "mirror/repair.rs"]
mod repair;
