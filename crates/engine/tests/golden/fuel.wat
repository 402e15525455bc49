;; fuel
(module
  (func (param i32)
    (loop $again
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @0017                               v2 = load.i64 notrap aligned readonly can_move v0+8
;; @0017                               v3 = load.i64 notrap aligned v2+88
;; @0017                               v4 = iconst.i64 0
;; @0017                               v5 = icmp sge v3, v4  ; v4 = 0
;; @0017                               trapnz v5, user17
;; @0018                               jump block2(v1)
;;
;;                                 block2(v10: i32):
;; @0018                               v6 = load.i32 user15 aligned v2-0x0001_0000
;; @0018                               sequence_point
;; @0018                               v7 = load.i64 notrap aligned v2+88
;; @0018                               v8 = iconst.i64 0
;; @0018                               v9 = icmp sge v7, v8  ; v8 = 0
;; @0018                               trapnz v9, user17
;; @001c                               v11 = iconst.i32 1
;; @001e                               v12 = isub v10, v11  ; v11 = 1
;; @0021                               v13 = load.i64 notrap aligned v2+88
;; @0021                               v14 = iconst.i64 5
;; @0021                               v15 = iadd v13, v14  ; v14 = 5
;; @0021                               store notrap aligned v15, v2+88
;; @0021                               brif v12, block2(v12), block4
;;
;;                                 block4:
;; @0023                               jump block3
;;
;;                                 block3:
;; @0024                               return
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 8(%rdi), %r9
;;   movq 0x58(%r9), %r10
;;   testq %r10, %r10
;;   jnl #trap=user17
;;   jmp     label1
;; block1:
;;   movl -0x10000(%r9), %eax
;;   sequence_point
;;   movq 0x58(%r9), %rax
;;   testq %rax, %rax
;;   jnl #trap=user17
;;   leaq 5(%rax), %rax
;;   movq %rax, 0x58(%r9)
;;   subl $0x1, %esi
;;   testl %esi, %esi
;;   jnz     label2; j label3
;; block2:
;;   jmp     label1
;; block3:
;;   jmp     label4
;; block4:
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
