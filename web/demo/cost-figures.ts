/** Made by `make docs` from bench/bill.json: a day, and its prices for a user in dollars. */
export const FIGURES = {
  users: 10000,
  days: 30,
  shownHours: 3,
  hiddenHours: 5,
  contacts: 20,
  heartbeatSeconds: 60,
  backgroundHeartbeatSeconds: 540,
  beat: 1.97861e-6,
  minute: 2.51588e-7,
  contactHour: 2.19676e-6,
  hour: 1.29835e-5,
  idle: 1.09617,
};
