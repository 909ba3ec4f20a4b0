/**
 * A Presence server in memory, and a clock to turn by hand: for tests of your own components.
 *
 *     function Lamp({ userId }: { userId: string }) {
 *       const user = useUserStatus(userId);
 *       return <p>{user?.fresh ? user.status : "unknown"}</p>;
 *     }
 *
 *     test("a lamp shows a status, and nothing old", async () => {
 *       const fake = createFakePresence({ users: [{ userId: "grace" }] });
 *       const lamp = <Lamp userId="grace" />;
 *       render(<SocketProvider {...fake.options} userId="ada">{lamp}</SocketProvider>);
 *       await screen.findByText("online");
 *       fake.server.user("grace", { status: "busy" });
 *       await screen.findByText("busy");
 *       fake.network.cut();
 *       await screen.findByText("unknown");
 *       fake.network.restore();
 *       await act(() => fake.clock.advance(30_000));
 *       screen.getByText("busy");
 *     });
 *
 * It follows docs/protocol.md and runs wherever a test does: it asks nothing of Node, and has no
 * timers but its own clock. Frames need no time, only promises; with `latencyMs`, they need
 * `advance`. A promise of your own that waits for something real is not waited for.
 */

import { fakeFetch } from "./fetch.js";
import { HttpApi, WebSocketApi } from "./gateway.js";
import { FakeNetwork } from "./network.js";
import { Rules } from "./refusal.js";
import { id } from "./requests.js";
import { fakeServer } from "./server.js";
import { FakeSocket } from "./socket.js";
import { type Parameters, Stack } from "./stack.js";
import { FakeClock, FakeLifecycle, Timeline } from "./surroundings.js";
import type { FakeDevice, FakePresence, FakePresenceOptions } from "./types.js";

export type { FakeNetwork } from "./network.js";
export type { FakeClock, FakeLifecycle } from "./surroundings.js";
export type { TokenOptions } from "./tokens.js";
export type * from "./types.js";

const API_URL = "https://presence.test";
const WEB_SOCKET_URL = "wss://presence.test/live";
const NOW = Date.UTC(2027, 0, 15, 8);

export function createFakePresence(options: FakePresenceOptions = {}): FakePresence {
  const timeline = new Timeline(options.now ?? NOW);
  const stack = new Stack(parametersOf(options), timeline);
  for (const presence of options.users ?? []) {
    stack.users.seed(id("userId", presence.userId), presence);
  }
  const addresses = {
    webSocketUrl: WEB_SOCKET_URL,
    ...(options.developmentTokens ? { developmentTokenUrl: `${API_URL}/dev/token` } : {}),
  };
  const rules = new Rules();
  const webSocketApi = new WebSocketApi(
    stack,
    rules,
    WEB_SOCKET_URL,
    options.changesFirst ?? false,
  );
  const httpApi = new HttpApi(stack, rules, API_URL, addresses);
  const server = fakeServer(stack, rules, webSocketApi, httpApi);
  const clock = new FakeClock(timeline);
  const random = randomNumbers();

  function device(name?: string): FakeDevice {
    const network = new FakeNetwork(timeline, options.latencyMs ?? 0);
    const lifecycle = new FakeLifecycle();
    class WebSocket extends FakeSocket {
      constructor(url: string | URL) {
        super(url, network, timeline, (url, link) => webSocketApi.open(url, link));
      }
    }
    return {
      network,
      lifecycle,
      options: {
        apiUrl: API_URL,
        getToken: ({ userId }) => server.tokenFor(userId),
        WebSocket,
        fetch: fakeFetch(network, (...asked) => httpApi.respond(...asked)),
        lifecycle,
        clock,
        random,
        ...(name === undefined ? {} : { device: name }),
      },
    };
  }

  return { ...device(), server, clock, device };
}

const DEFAULTS: Parameters = {
  heartbeatSeconds: 30,
  backgroundHeartbeatSeconds: 540,
  graceSeconds: 10,
  authenticationSeconds: 10,
  maxConnectionSeconds: 7_200,
  freshSeconds: 30,
  probeSeconds: 10,
  largeAudience: 1_000,
  globalPresence: false,
  publicReads: false,
  lastSeenPrecision: "exact",
};

function parametersOf(options: FakePresenceOptions): Parameters {
  const said = Object.keys(DEFAULTS).map((name) => [name, options[name as keyof Parameters]]);
  return { ...DEFAULTS, ...Object.fromEntries(said.filter(([, value]) => value !== undefined)) };
}

/** The same numbers in every run (mulberry32). */
function randomNumbers(): () => number {
  let state = 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
