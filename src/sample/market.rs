//! The constants of the made-up market: categories, regions, wallets, institutions.

/// A line of business: what it sells, when it is open, what a ticket is worth.
pub(super) struct Category {
    /// The readable name in the registry.
    pub(super) slug: &'static str,
    /// ISO 18245 merchant category code.
    pub(super) mcc: &'static str,
    /// Last word of a merchant's name.
    pub(super) noun: &'static str,
    /// Share of merchants, relative.
    pub(super) stores: f64,
    /// Share of payments, relative.
    pub(super) visits: f64,
    /// Median ticket in fen.
    pub(super) ticket_minor: f64,
    /// Standard deviation of the logarithm of a ticket.
    pub(super) ticket_sigma: f64,
    /// Share of visits that go to a favourite merchant.
    pub(super) loyalty: f64,
    /// Share of payments made online.
    pub(super) online: f64,
    /// Factor on Saturdays and Sundays.
    pub(super) weekend: f64,
    /// Factor in the fortnight before Spring Festival.
    pub(super) before_festival: f64,
    /// Factor in the week from Spring Festival on.
    pub(super) in_festival: f64,
    /// Payments for each local hour, relative; zero means closed.
    pub(super) hours: [u8; 24],
}

const SHOP: [u8; 24] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 6, 7, 7, 8, 9, 9, 8, 9, 11, 10, 6, 0, 0];
const FOOD_SHOP: [u8; 24] =
    [0, 0, 0, 0, 0, 0, 0, 4, 7, 8, 8, 7, 6, 5, 5, 6, 8, 10, 11, 9, 7, 4, 0, 0];
const MEALS: [u8; 24] =
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 14, 9, 4, 2, 3, 9, 14, 12, 7, 4, 0, 0];
const SNACKS: [u8; 24] = [0, 0, 0, 0, 0, 0, 3, 7, 8, 4, 4, 9, 12, 8, 4, 4, 5, 8, 10, 8, 6, 4, 3, 2];
const ROAD: [u8; 24] = [2, 1, 1, 1, 1, 2, 4, 7, 9, 7, 6, 6, 6, 6, 6, 6, 7, 8, 9, 7, 6, 5, 4, 3];
const DAYTIME: [u8; 24] = [0, 0, 0, 0, 0, 0, 0, 0, 6, 8, 9, 8, 6, 6, 7, 8, 8, 8, 8, 7, 5, 3, 0, 0];
const CINEMA: [u8; 24] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 4, 6, 7, 7, 6, 6, 9, 13, 12, 8, 4, 2];
const STAGE: [u8; 24] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 6, 3, 3, 4, 12, 20, 6, 2, 0, 0];
const DESK: [u8; 24] = [0, 0, 0, 0, 0, 0, 4, 8, 9, 7, 5, 6, 7, 6, 7, 7, 7, 7, 8, 8, 7, 6, 5, 3];

/// An ordinary shop: the starting point of every category.
const ORDINARY: Category = Category {
    slug: "",
    mcc: "",
    noun: "",
    stores: 1.0,
    visits: 1.0,
    ticket_minor: 5_000.0,
    ticket_sigma: 0.7,
    loyalty: 0.3,
    online: 0.08,
    weekend: 1.2,
    before_festival: 1.0,
    in_festival: 0.8,
    hours: SHOP,
};

/// Every category of the market; a merchant has exactly one.
pub(super) const CATEGORIES: [Category; 14] = [
    Category {
        slug: "groceries",
        mcc: "5411",
        noun: "Groceries",
        stores: 18.0,
        visits: 27.0,
        ticket_minor: 5_800.0,
        ticket_sigma: 0.8,
        loyalty: 0.6,
        before_festival: 1.35,
        in_festival: 0.6,
        hours: FOOD_SHOP,
        ..ORDINARY
    },
    Category {
        slug: "restaurants",
        mcc: "5812",
        noun: "Kitchen",
        stores: 22.0,
        visits: 17.0,
        ticket_minor: 9_800.0,
        weekend: 1.35,
        before_festival: 1.1,
        in_festival: 0.7,
        hours: MEALS,
        ..ORDINARY
    },
    Category {
        slug: "fast-food",
        mcc: "5814",
        noun: "Noodle Bar",
        stores: 16.0,
        visits: 19.0,
        ticket_minor: 2_600.0,
        ticket_sigma: 0.5,
        loyalty: 0.4,
        weekend: 0.9,
        in_festival: 0.5,
        hours: SNACKS,
        ..ORDINARY
    },
    Category {
        slug: "fuel",
        mcc: "5541",
        noun: "Fuel",
        stores: 5.0,
        visits: 5.0,
        ticket_minor: 27_000.0,
        ticket_sigma: 0.4,
        loyalty: 0.6,
        online: 0.01,
        weekend: 1.05,
        before_festival: 1.2,
        in_festival: 1.1,
        hours: ROAD,
    },
    Category {
        slug: "taxis",
        mcc: "4121",
        noun: "Taxis",
        stores: 3.0,
        visits: 8.0,
        ticket_minor: 2_900.0,
        ticket_sigma: 0.6,
        loyalty: 0.05,
        online: 0.02,
        weekend: 1.0,
        in_festival: 0.6,
        hours: ROAD,
        ..ORDINARY
    },
    Category {
        slug: "cinemas",
        mcc: "7832",
        noun: "Cinema",
        stores: 2.0,
        visits: 2.0,
        ticket_minor: 8_500.0,
        ticket_sigma: 0.45,
        loyalty: 0.5,
        online: 0.15,
        weekend: 1.8,
        in_festival: 2.2,
        hours: CINEMA,
        ..ORDINARY
    },
    Category {
        slug: "theatres",
        mcc: "7922",
        noun: "Theatre",
        stores: 1.0,
        visits: 0.6,
        ticket_minor: 32_000.0,
        ticket_sigma: 0.6,
        online: 0.2,
        weekend: 1.7,
        hours: STAGE,
        ..ORDINARY
    },
    Category {
        slug: "clothing",
        mcc: "5651",
        noun: "Clothing",
        stores: 10.0,
        visits: 5.0,
        ticket_minor: 24_000.0,
        ticket_sigma: 0.75,
        loyalty: 0.25,
        online: 0.12,
        weekend: 1.5,
        before_festival: 1.5,
        in_festival: 0.6,
        ..ORDINARY
    },
    Category {
        slug: "pharmacies",
        mcc: "5912",
        noun: "Pharmacy",
        stores: 7.0,
        visits: 5.0,
        ticket_minor: 5_200.0,
        ticket_sigma: 0.8,
        loyalty: 0.45,
        weekend: 0.95,
        hours: DAYTIME,
        ..ORDINARY
    },
    Category {
        slug: "department-stores",
        mcc: "5311",
        noun: "Department Store",
        stores: 2.0,
        visits: 4.5,
        ticket_minor: 21_000.0,
        ticket_sigma: 0.95,
        loyalty: 0.4,
        online: 0.07,
        weekend: 1.5,
        before_festival: 1.4,
        ..ORDINARY
    },
    Category {
        slug: "electronics",
        mcc: "5732",
        noun: "Electronics",
        stores: 4.0,
        visits: 1.6,
        ticket_minor: 68_000.0,
        ticket_sigma: 1.1,
        loyalty: 0.15,
        online: 0.18,
        weekend: 1.4,
        before_festival: 1.2,
        in_festival: 0.7,
        ..ORDINARY
    },
    Category {
        slug: "books",
        mcc: "5942",
        noun: "Books",
        stores: 2.0,
        visits: 1.5,
        ticket_minor: 6_400.0,
        ticket_sigma: 0.6,
        loyalty: 0.4,
        online: 0.2,
        weekend: 1.5,
        in_festival: 0.5,
        ..ORDINARY
    },
    Category {
        slug: "beauty",
        mcc: "7230",
        noun: "Salon",
        stores: 6.0,
        visits: 2.2,
        ticket_minor: 11_500.0,
        loyalty: 0.7,
        online: 0.03,
        weekend: 1.4,
        before_festival: 1.6,
        in_festival: 0.3,
        ..ORDINARY
    },
    Category {
        slug: "hotels",
        mcc: "7011",
        noun: "Hotel",
        stores: 2.0,
        visits: 1.6,
        ticket_minor: 42_000.0,
        ticket_sigma: 0.55,
        loyalty: 0.1,
        online: 0.15,
        weekend: 1.15,
        before_festival: 0.9,
        in_festival: 1.4,
        hours: DESK,
    },
];

/// A region: its code, its share of people and merchants, its price level.
pub(super) struct Region {
    pub(super) code: &'static str,
    pub(super) people: f64,
    pub(super) prices: f64,
}

const fn region(code: &'static str, people: f64, prices: f64) -> Region {
    Region { code, people, prices }
}

/// Every region of the market.
pub(super) const REGIONS: [Region; 12] = [
    region("BJ", 10.0, 1.18),
    region("CQ", 7.0, 0.92),
    region("FJ", 6.0, 1.0),
    region("GD", 17.0, 1.08),
    region("HB", 8.0, 0.94),
    region("JS", 12.0, 1.04),
    region("LN", 5.0, 0.9),
    region("SC", 9.0, 0.93),
    region("SD", 9.0, 0.95),
    region("SH", 13.0, 1.2),
    region("SN", 5.0, 0.9),
    region("ZJ", 11.0, 1.06),
];

/// A wallet: its name, its share of users, whether only large institutions take part.
pub(super) struct Wallet {
    pub(super) name: &'static str,
    pub(super) users: f64,
    pub(super) large_institutions: bool,
}

/// Every wallet of the market.
pub(super) const WALLETS: [Wallet; 5] = [
    Wallet { name: "alipay", users: 33.0, large_institutions: false },
    Wallet { name: "apple_pay", users: 8.0, large_institutions: true },
    Wallet { name: "card", users: 13.0, large_institutions: false },
    Wallet { name: "unionpay_quickpass", users: 12.0, large_institutions: true },
    Wallet { name: "wechat_pay", users: 34.0, large_institutions: false },
];

/// How many institutions issue cards and accounts.
pub(super) const INSTITUTIONS: usize = 200;
/// How many of them take part in wallets with `large_institutions`.
pub(super) const LARGE_INSTITUTIONS: usize = 60;

/// The channels; the index is the value in generated rows.
pub(super) const CHANNELS: [&str; 2] = ["in_store", "online"];
/// Index of `in_store` in [`CHANNELS`].
pub(super) const IN_STORE: u8 = 0;
/// Index of `online` in [`CHANNELS`].
pub(super) const ONLINE: u8 = 1;

/// First words of merchants' names.
pub(super) const COLOURS: [&str; 16] = [
    "Amber", "Azure", "Bright", "Bronze", "Copper", "Crimson", "Golden", "Green", "Grey", "Indigo",
    "Ivory", "Jade", "Pearl", "Quiet", "Silver", "White",
];

/// Second words of merchants' names.
pub(super) const THINGS: [&str; 16] = [
    "Bamboo", "Bridge", "Cedar", "Cloud", "Crane", "Garden", "Harbour", "Lantern", "Lotus",
    "Maple", "Moon", "Orchid", "Pine", "River", "Swallow", "Willow",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_four_digits_and_unique() {
        let codes: std::collections::BTreeSet<&str> = CATEGORIES.iter().map(|c| c.mcc).collect();
        assert_eq!(codes.len(), CATEGORIES.len());
        assert!(codes.iter().all(|code| code.len() == 4 && code.parse::<u16>().is_ok()));
    }

    #[test]
    fn every_category_opens() {
        assert!(CATEGORIES.iter().all(|category| category.hours.iter().any(|&hour| hour > 0)));
    }

    #[test]
    fn about_eight_per_cent_of_payments_are_online() {
        let visits: f64 = CATEGORIES.iter().map(|c| c.visits).sum();
        let online: f64 = CATEGORIES.iter().map(|c| c.visits * c.online).sum();
        assert!((online / visits - 0.08).abs() < 0.005, "{}", online / visits);
    }
}
