/** Whatever happens to the other tabs, a tab that runs sees and shows no blink. */

import { describe, expect, it } from "vitest";
import { createPresenceClient } from "../../src/index.js";
import { createFakePresence } from "../../src/testing/index.js";
import { Browser, type Tab } from "./browser.js";

const SECOND = 1_000;
const RUNS = 25;
const STEPS = 30;
const MOST = 5;

/** The same numbers in every run (mulberry32). */
function numbers(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Another user, who notes when Ada is not to be seen. */
async function onlooker(fake: ReturnType<typeof createFakePresence>) {
  const grace = createPresenceClient({ ...fake.device().options, autoAway: false });
  grace.authenticate("grace");
  const { members } = grace.joinChatSession("lobby");
  const ada = grace.user("ada");
  const blinks: string[] = [];
  const heard: unknown[] = [];
  grace.chatSession("lobby").onMessage(({ content }) => heard.push(content));
  await fake.clock.settle();
  return {
    blinks,
    heard,
    watch() {
      ada.subscribe(() => ada.get()?.isOnline || blinks.push("offline"));
      members.subscribe(() => members.get().userIds.includes("ada") || blinks.push("left"));
    },
  };
}

async function run(seed: number) {
  const below = numbers(seed);
  const fake = createFakePresence({ heartbeatSeconds: 30 });
  const browser = new Browser(fake);
  const { blinks, heard, watch } = await onlooker(fake);
  const tabs: Tab[] = [];
  const frozen = new Set<Tab>();

  async function open() {
    const tab = await browser.come();
    tab.client.joinChatSession("lobby");
    tab.client.user("grace").subscribe(() => {});
    tabs.push(tab);
  }

  /** Any but the first, which always runs. */
  const any = () => tabs[1 + below(tabs.length - 1)] as Tab;
  const end = (how: "close" | "crash") => {
    const tab = any();
    tabs.splice(tabs.indexOf(tab), 1);
    frozen.delete(tab);
    tab[how]();
  };
  const steps = [
    () => (tabs.length < MOST ? open() : undefined),
    () => end("close"),
    () => end("crash"),
    () => {
      const tab = any();
      if (frozen.has(tab)) tab.thaw();
      else tab.freeze();
      if (!frozen.delete(tab)) frozen.add(tab);
    },
    () => {
      const { lifecycle } = any().device;
      lifecycle.setVisible(!lifecycle.isVisible());
    },
  ];

  // The one that always runs does not always lead.
  await open();
  await open();
  await fake.clock.advance(SECOND);
  watch();
  const sent: string[] = [];
  for (let step = 0; step < STEPS; step += 1) {
    if (tabs.length < 2) await open();
    await steps[below(steps.length)]?.();
    const content = `No. ${step}`;
    sent.push(content);
    void (tabs[0] as Tab).client.chatSession("lobby").send(content, `mine-${step}`);
    await fake.clock.advance([0, SECOND, 20 * SECOND, 90 * SECOND][below(4)] as number);
  }
  for (const tab of frozen) tab.thaw();
  await fake.clock.advance(60 * SECOND);
  return { fake, tabs, blinks, heard, sent };
}

describe("a tab that always runs", () => {
  it.each(Array.from({ length: RUNS }, (_, at) => at + 1))("run %i", async (seed) => {
    const { fake, tabs, blinks, heard, sent } = await run(seed);
    expect(blinks).toEqual([]);
    expect([...heard].sort()).toEqual([...sent].sort());
    expect(tabs.filter((it) => it.role === "leader")).toHaveLength(1);
    expect(tabs.filter((it) => it.role === "follower")).toHaveLength(tabs.length - 1);
    expect(fake.server.connections.filter((it) => it.userId === "ada")).toHaveLength(1);
    for (const { client } of tabs) {
      expect(client.connection.get()).toEqual({ name: "ready" });
      expect(client.tabs.get().count).toBe(tabs.length);
      expect(client.user("grace").get()).toMatchObject({ isOnline: true, fresh: true });
      expect(client.chatSession("lobby").members.get()).toMatchObject({
        userIds: ["ada", "grace"],
        state: "joined",
      });
    }
  });
});
