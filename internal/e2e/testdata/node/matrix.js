// The matrix for KafkaJS: "node matrix.js BOOTSTRAP PREFIX", with NODE_PATH at
// the packages, prints "ok" for each part.
const assert = require('node:assert')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const [bootstrap, prefix] = process.argv.slice(2)
const FIRST = 1_700_000_000_000 // record k has the time FIRST + 10 k
const PARTITIONS = 6
const KEEP = [{ name: 'retention.ms', value: '-1' }] // the records are old enough for the default to take them
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 10 } })
const admin = kafka.admin()

const say = part => console.log('ok ' + part)
const key = k => (k % 7 === 3 ? null : `key-${k}`)
const value = k => (k % 5 === 4 ? null : `value ${k} `.repeat(1 + (k % 30)))
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

async function until(what, ready, seconds = 30) {
  for (const end = Date.now() + 1000 * seconds; !(await ready()); await sleep(20)) {
    assert(Date.now() < end, 'time: ' + (typeof what === 'function' ? what() : what))
  }
}

async function create(topic, numPartitions, configEntries = KEEP) {
  assert(await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }] }))
}

async function produce(topic, partitions, compression, from, to) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const messages = []
  for (let k = from; k < to; k++) {
    messages.push({ key: key(k), value: value(k), partition: k % partitions, timestamp: `${FIRST + 10 * k}`, headers: { k: `${k}`, empty: '' } })
  }
  const half = messages.length / 2
  for (const part of [messages.slice(0, half), messages.slice(half)]) {
    const answers = await producer.send({ topic, acks: -1, compression, messages: part })
    for (const a of answers) {
      const first = part.find(m => m.partition === a.partition)
      assert.strictEqual(Number(a.baseOffset), Math.floor(Number(first.headers.k) / partitions), 'base offset')
    }
  }
  await producer.disconnect()
}

function same(m, k) {
  assert.strictEqual(m.key === null ? null : m.key.toString(), key(k), `key of ${k}`)
  assert.strictEqual(m.value === null ? null : m.value.toString(), value(k), `value of ${k}`)
  assert.strictEqual(Number(m.timestamp), FIRST + 10 * k, `time of ${k}`)
  assert.deepStrictEqual([m.headers.k.toString(), m.headers.empty.toString()], [`${k}`, ''], `headers of ${k}`)
}

// A member of a group, and what it read.
class Member {
  constructor(topic, groupId, more = {}) {
    this.topic = topic
    this.seen = []
    this.failure = null
    this.partitions = []
    this.next = {}
    this.consumer = kafka.consumer({ groupId, heartbeatInterval: 200, rebalanceTimeout: 10000, maxWaitTimeInMs: 200, ...more })
    this.consumer.on(this.consumer.events.GROUP_JOIN, e => { this.partitions = e.payload.memberAssignment[topic] || [] })
    this.consumer.on(this.consumer.events.CRASH, e => { this.failure = e.payload.error })
  }

  async start() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true })
    await this.consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
        for (const m of batch.messages) {
          if (!isRunning() || isStale()) break
          this.seen.push([batch.partition, Number(m.offset), m])
          this.next[batch.partition] = Number(m.offset) + 1
          resolveOffset(m.offset)
        }
        // What was read is not read again by others.
        if (this.next[batch.partition]) await this.consumer.commitOffsets([{ topic: this.topic, partition: batch.partition, offset: `${this.next[batch.partition]}` }])
        await heartbeat()
      },
    })
  }

  check() {
    if (this.failure) throw this.failure
  }

  end() {
    return this.consumer.disconnect()
  }
}

async function records(name, compression) {
  const topic = `${prefix}-${name}`
  await create(topic, 1)
  await produce(topic, 1, compression, 0, 1000)
  // KafkaJS reads in groups only.
  const c = new Member(topic, `${topic}-readers`)
  await c.start()
  await until(() => `read ${c.seen.length}`, () => { c.check(); return c.seen.length >= 1000 })
  await c.end()
  assert.strictEqual(c.seen.length, 1000)
  c.seen.forEach(([, offset, m], k) => {
    assert.strictEqual(offset, k)
    same(m, k)
  })
  for (const k of [0, 1, 499, 999]) {
    const [at] = await admin.fetchTopicOffsetsByTimestamp(topic, FIRST + 10 * k - 5)
    assert.strictEqual(Number(at.offset), k, `offset for the time of ${k}`)
  }
}

async function committed(groupId, topic) {
  const [t] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return t.partitions.map(p => Number(p.offset))
}

// Two members share the partitions, then another goes on where they ended.
async function group() {
  const topic = `${prefix}-eager`
  await create(topic, PARTITIONS)
  await produce(topic, PARTITIONS, CompressionTypes.None, 0, 300)
  const a = new Member(topic, topic)
  await a.start()
  await until('first member', () => { a.check(); return a.partitions.length === PARTITIONS && a.seen.length > 0 })
  const b = new Member(topic, topic)
  await b.start()
  await until('two members', () => { a.check(); b.check(); return a.partitions.length === 3 && b.partitions.length === 3 })
  const description = (await admin.describeGroups([topic])).groups[0]
  assert.deepStrictEqual([description.state, description.members.length, description.protocolType], ['Stable', 2, 'consumer'])
  await produce(topic, PARTITIONS, CompressionTypes.GZIP, 300, 600)
  const all = () => new Set([...a.seen, ...b.seen].map(([p, o]) => `${p}/${o}`))
  await until(() => `read ${all().size}`, () => { a.check(); b.check(); return all().size >= 600 })
  await until('commits', async () => (await committed(topic, topic)).every(o => o === 100))
  await a.end()
  await b.end()
  for (const [p, o, m] of [...a.seen, ...b.seen]) same(m, o * PARTITIONS + p)
  assert(b.seen.length >= 150 && all().size === 600, 'the second member takes part')
  await produce(topic, PARTITIONS, CompressionTypes.None, 600, 660)
  const c = new Member(topic, topic)
  await c.start()
  await until(() => `go on, ${c.seen.length}`, () => { c.check(); return c.seen.length >= 60 })
  await until('commits', async () => (await committed(topic, topic)).every(o => o === 110))
  await c.end()
  assert(c.seen.length === 60 && c.seen.every(([, o]) => o >= 100), 'positions')
}

async function topics() {
  const topic = `${prefix}-topic`
  await create(topic, 3, [{ name: 'retention.ms', value: '3600000' }])
  assert.strictEqual(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }), false)
  const { topics: [t] } = await admin.fetchTopicMetadata({ topics: [topic] })
  assert(t.partitions.length === 3 && t.partitions.every(p => p.leader === 1), 'partitions')
  await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  await until('partitions', async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 5)
  assert((await admin.listTopics()).includes(topic))
  const offsets = await admin.fetchTopicOffsets(`${prefix}-none`)
  assert.deepStrictEqual(offsets.map(o => [o.low, o.high]), [['0', '1000']])
  await admin.deleteTopics({ topics: [topic] })
  await until('delete', async () => !(await admin.listTopics()).includes(topic))
}

async function configs() {
  const topic = `${prefix}-config`
  await create(topic, 1, [{ name: 'retention.ms', value: '3600000' }])
  const described = async () => {
    const r = await admin.describeConfigs({ resources: [{ type: 2, name: topic }], includeSynonyms: true })
    return Object.fromEntries(r.resources[0].configEntries.map(e => [e.configName, e.configValue]))
  }
  assert.strictEqual((await described())['retention.ms'], '3600000')
  await admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries: [{ name: 'cleanup.policy', value: 'compact' }] }] })
  await until('alter', async () => {
    const c = await described()
    return c['cleanup.policy'] === 'compact' && c['retention.ms'] === '604800000'
  })
}

async function groups() {
  const topic = `${prefix}-none`, groupId = `${prefix}-gone`
  await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '77' }] })
  assert.deepStrictEqual(await committed(groupId, topic), [77])
  await admin.resetOffsets({ groupId, topic, earliest: true })
  const ids = (await admin.listGroups()).groups.map(g => g.groupId)
  assert(ids.includes(groupId) && ids.includes(`${prefix}-eager`), `groups ${ids}`)
  await admin.deleteGroups([groupId])
  assert(!(await admin.listGroups()).groups.some(g => g.groupId === groupId), 'still listed')
}

async function main() {
  say('version ' + require('kafkajs/package.json').version)
  await admin.connect()
  for (const [name, compression] of [['none', CompressionTypes.None], ['gzip', CompressionTypes.GZIP], ['snappy', CompressionTypes.Snappy]]) {
    await records(name, compression)
    say('records ' + name)
  }
  for (const [part, run] of [['group eager', group], ['topics', topics], ['configs', configs], ['groups', groups]]) {
    await run()
    say(part)
  }
  await admin.disconnect()
}

main().then(() => process.exit(0), e => {
  console.error(e)
  process.exit(1)
})
