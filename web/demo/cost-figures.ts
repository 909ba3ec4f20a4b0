/** Made by `make docs` from bench/bill.json: a day, and its prices for a user in dollars. */
export const FIGURES = {
  users: 10000,
  days: 30,
  shownHours: 3,
  hiddenHours: 5,
  contacts: 20,
  heartbeatSeconds: 60,
  backgroundHeartbeatSeconds: 540,
  beat: 1.9907e-6,
  minute: 2.51513e-7,
  contactHour: 2.20027e-6,
  hour: 1.37658e-5,
  idle: 6.50398,
};
