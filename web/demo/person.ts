/** A person on the page: their devices, the frames of these, and the users they block. */

import { Device, type Kind } from "./device.js";
import { type LoggedFrame, read } from "./frames.js";
import { Observable } from "./observable.js";
import { capitalised } from "./parts.js";

const KEPT = 300;
let frames = 0;

export class Person {
  readonly userId: string;
  readonly name: string;
  readonly devices = new Observable<readonly Device[]>([]);
  /** The device that is looked at. */
  readonly selected = new Observable<Device | undefined>(undefined);
  readonly log = new Observable<readonly LoggedFrame[]>([]);
  readonly watched = new Observable<readonly string[]>([]);
  /** Null while it is not known. */
  readonly blocked = new Observable<ReadonlySet<string> | null>(null);
  #opened = 0;

  constructor(userId: string) {
    this.userId = userId;
    this.name = capitalised(userId);
  }

  /** What others are called on this person's devices. */
  readonly nameOf = (userId: string): string =>
    userId === this.userId ? "You" : capitalised(userId);

  open(kind: Kind): void {
    this.#opened += 1;
    const device: Device = new Device(kind, this.#opened, ({ text, ...passed }) => {
      frames += 1;
      const logged = { ...passed, key: frames, frame: read(text), device: device.name };
      this.log.set([...this.log.get(), logged].slice(-KEPT));
    });
    this.devices.set([...this.devices.get(), device]);
    this.selected.set(device);
    device.client.on("authentication-success", () => void this.#readBlocked(device));
    void device.client.authenticate(this.userId);
  }

  close(device: Device): void {
    const left = this.devices.get().filter((other) => other !== device);
    if (this.selected.get() === device) this.selected.set(left.at(-1));
    this.devices.set(left);
    device.close();
  }

  closeAll(): void {
    for (const device of this.devices.get()) this.close(device);
  }

  watch(userId: string): void {
    const others = this.watched.get().filter((other) => other !== userId);
    this.watched.set([...others, userId]);
  }

  unwatch(userId: string): void {
    this.watched.set(this.watched.get().filter((other) => other !== userId));
  }

  /** Rejects if it was refused; then nothing has changed. */
  async setBlocked(device: Device, userId: string, isBlocked: boolean): Promise<void> {
    const { request } = device.client;
    const path = `/blocked/${encodeURIComponent(userId)}` as const;
    await (isBlocked ? request(`PUT ${path}`) : request(`DELETE ${path}`));
    const others = [...(this.blocked.get() ?? [])].filter((other) => other !== userId);
    this.blocked.set(new Set(isBlocked ? [...others, userId] : others));
  }

  async #readBlocked({ client }: Device): Promise<void> {
    // If it fails, the next connection asks again.
    const told = await client.request("GET /blocked").catch(() => null);
    if (told) this.blocked.set(new Set(told.userIds));
  }
}
